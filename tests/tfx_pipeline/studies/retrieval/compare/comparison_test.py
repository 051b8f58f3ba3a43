"""`compare_retrieval` on the tiny world: the report, paired differences, what is trained and asked again."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.text import Text

from tests.tfx_pipeline.conftest import ITEMS
from tfx_pipeline.config.label import CANDIDATES, Label
from tfx_pipeline.config.schema import PipelineConfig, Training
from tfx_pipeline.config.stages import RECALL, Retrieval
from tfx_pipeline.console import Console
from tfx_pipeline.errors import ConfigError, ModelError
from tfx_pipeline.evaluation.asking import Asking
from tfx_pipeline.evaluation.bootstrap import draws
from tfx_pipeline.evaluation.items_had import items_had
from tfx_pipeline.evaluation.retrieval.cascade import Cascade, Ranker
from tfx_pipeline.evaluation.retrieval.evaluate import evaluate_retrievers
from tfx_pipeline.evaluation.retrieval.ranks import ListRanks
from tfx_pipeline.evaluation.retrieval.tower_retriever import TowerRetriever
from tfx_pipeline.studies.compare.finished import count_parameters
from tfx_pipeline.studies.retrieval import contenders
from tfx_pipeline.studies.retrieval.compare import experiment, finished
from tfx_pipeline.studies.retrieval.compare.comparison import REPORT, compare_retrieval, retrieval_folder
from tfx_pipeline.studies.retrieval.compare.finished import TowerTraining
from tfx_pipeline.studies.retrieval.compare.report import RetrievalComparison
from tfx_pipeline.studies.retrieval.compare.tables import print_comparison
from tfx_pipeline.studies.retrieval.saved_model import read_model
from tfx_pipeline.training.model_training import new_model
from tfx_pipeline.training.retrieval.training import train_two_towers
from tfx_pipeline.training.trainer import TrainingResult
from tfx_pipeline.training.trial import TrainedTrial

TOWERS = ["two_towers", "two_towers~content"]
SEEDS = (5, 6)


def _config(output: Path) -> PipelineConfig:
    nowhere = {"path": str(output / "nowhere.parquet")}
    params = {"id_dim": 4, "content_dim": 4, "hidden_units": [8], "dim": 4}
    return PipelineConfig.model_validate(
        {
            "name": "tiny",
            "output": str(output),
            "data": {"interactions": nowhere, "items": nowhere},
            "split": {"fractions": {}},
            "content": {"modalities": {name: {**nowhere, "width": 6} for name in ("text", "image")}},
            "training": {"seed": SEEDS[0]},
            "stages": {"retrieval": {"params": params, "batch_size": 64, "epochs": 1, "random_negatives": 8}},
        }
    )


def _untrained(settings, training, data, *, state_dir, modalities, without, **_):
    """In the place of `train_two_towers`, which takes most of the time."""
    state_dir.mkdir(parents=True, exist_ok=True)
    params, without = settings.params, (CANDIDATES, *without)
    model = new_model("two_towers", params, data, modalities=modalities, without=without, seed=training.seed)
    return model, TrainingResult([{"loss": 1.0, RECALL: 0.5}], 0, 400, 100, 50.0)


@pytest.fixture(scope="module")
def prepared(tiny_data) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "prepare", lambda config, code: tiny_data)
        patch.setattr(finished, "train_two_towers", _untrained)
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PipelineConfig:
    return _config(tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def report(config, prepared) -> RetrievalComparison:
    """Of two towers with two seeds, and the default baselines."""
    return compare_retrieval(config, TOWERS, len(SEEDS), at_k=[10, 5])


@pytest.fixture
def done(monkeypatch) -> list[str]:
    """What is trained, and what trained towers are asked, as it happens."""
    done: list[str] = []
    train, judge = finished.train, finished.judge

    def trained(training, *rest):
        done.append(f"trained {training.label} {training.training.seed}")
        train(training, *rest)

    def judged(folder, question, watch, ranker=None):
        done.append(f"asked {folder.name.rpartition('-')[0]} {question.split}")
        judge(folder, question, watch, ranker)

    monkeypatch.setattr(experiment, "train", trained)
    monkeypatch.setattr(experiment, "judge", judged)
    return done


def _said(capfd) -> list[str]:
    """What the user reads meanwhile."""
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith(("2 towers", "["))]


def _ranks(config: PipelineConfig, label: str) -> list[ListRanks]:
    """By seed."""
    folders = [next((retrieval_folder(config) / "trainings").glob(f"{label}-{seed}-{'?' * 16}")) for seed in SEEDS]
    return [ListRanks.load(next(folder.glob(f"test-{len(ITEMS)}-{'?' * 16}.npz"))) for folder in folders]


def test_towers_and_baselines_in_one_report(config, report):
    names = [*TOWERS, "popularity", "co_occurrence", "content"]
    assert [each.retriever for each in report.lists] == names
    assert (report.at_k, report.items, report.split, report.reference) == ([5, 10], len(ITEMS), "test", "two_towers")
    assert (tuple(report.seeds), report.frequency) == (SEEDS, "impressions")
    for each in report.lists:
        seeds = len(SEEDS) if each.retriever in TOWERS else 1
        for value in (*each.metrics.values(), *each.coverage.values(), *each.head_share.values()):
            assert len(value.values) == seeds
            assert value.mean == pytest.approx(np.mean(value.values)) and 0 <= value.mean <= 1
            assert value.std == (pytest.approx(np.std(value.values, ddof=1)) if seeds > 1 else None)
        assert sum(one.positives for one in each.slices["item_frequency"].values()) == report.positives
        assert sum(one.positives for one in each.slices["item_positives"].values()) == report.positives
        assert sum(one.requests for one in each.slices["history_length"].values()) == report.requests
    assert [towers.label for towers in report.towers] == TOWERS
    assert [towers.params["content_dim"] for towers in report.towers] == [4, 0]
    with_content, without = (towers.parameters.trainable for towers in report.towers)
    assert with_content > without
    assert report.towers[0].training.batch_size == 64 and len(report.towers[0].history) == len(SEEDS)
    written = json.loads((retrieval_folder(config) / REPORT).read_text())
    assert RetrievalComparison.from_json(written) == report


def test_figures_of_towers_are_those_of_their_ranks(config, report):
    for label in TOWERS:
        own = next(each for each in report.lists if each.retriever == label)
        ranks = _ranks(config, label)
        assert own.coverage["5"].values == [ranks_of_seed.coverage(5) for ranks_of_seed in ranks]
        recalls = own.metrics["recall@10"].values
        # Of requests with one positive recall is that share; others weigh theirs.
        shares = [float(((each.rank > 0) & (each.rank <= 10)).mean()) for each in ranks]
        assert recalls == pytest.approx(shares, abs=0.1)
    # Another seed, other towers.
    assert len(set(report.lists[0].metrics["ndcg@10"].values)) > 1


def test_differences_are_paired_by_seed_and_by_user(config, report, tiny_data):
    files, ids = tiny_data.examples["test"], tiny_data.training_data.content.item_ids
    asked = list(Asking(files, ids, items_had(list(tiny_data.examples.values()), files, ids)).batches(256))
    users = np.concatenate([batch.requests.users for batch in asked])
    request = np.repeat(np.arange(len(users)), [len(own) for batch in asked for own in batch.positives])
    assert (len(users), len(request)) == (report.requests, report.positives)

    def hit_rates(ranks: ListRanks) -> np.ndarray:
        """hr@5 of each request."""
        hit = (ranks.rank > 0) & (ranks.rank <= 5)
        return np.array([hit[request == each].any() for each in range(len(users))], float)

    towers, reference = _ranks(config, "two_towers~content"), _ranks(config, "two_towers")
    pairs = [hit_rates(own) - hit_rates(other) for own, other in zip(towers, reference, strict=True)]
    found = next(each for each in report.lists if each.retriever == "two_towers~content").difference["hr@5"]
    assert found.by_seed == pytest.approx([pair.mean() for pair in pairs])
    assert found.mean == pytest.approx(np.mean(pairs))
    assert found.std == pytest.approx(np.std([pair.mean() for pair in pairs], ddof=1))
    # Users are drawn, each with all requests.
    number = np.unique(users, return_inverse=True)[1]
    weights = np.concatenate(list(draws(number.max() + 1, 1000)), axis=1)[number]
    samples = np.mean(pairs, axis=0) @ weights / weights.sum(axis=0)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])))
    assert found.low <= found.mean <= found.high
    assert report.lists[0].difference is None and report.lists[0].slice_differences is None


def test_a_baseline_is_the_same_beside_every_seed(report):
    towers, popularity = report.lists[0], report.lists[2]
    found = popularity.difference["recall@10"]
    expected = [popularity.metrics["recall@10"].mean - value for value in towers.metrics["recall@10"].values]
    assert found.by_seed == pytest.approx(expected)
    assert found.verdict in ("ahead", "behind", "undecided")
    cold = popularity.slice_differences["item_positives"]["cold"]["recall@10"]
    own = popularity.slices["item_positives"]["cold"].metrics["recall@10"].mean
    of_towers = towers.slices["item_positives"]["cold"].metrics["recall@10"].mean
    assert cold.mean == pytest.approx(own - of_towers)
    assert cold.beyond_overall.mean == pytest.approx(cold.mean - found.mean)


def test_what_is_finished_is_neither_trained_nor_asked_again(config, report, done, capfd):
    again = compare_retrieval(config, TOWERS, len(SEEDS), at_k=[1, 20], retrievers=["popularity"])
    assert done == []
    assert [each.retriever for each in again.lists] == [*TOWERS, "popularity"] and again.at_k == [1, 20]
    said = _said(capfd)
    assert said[0].startswith("2 towers x 2 seeds, 4 trainings; output ")
    assert said[2] == "[2/4] two_towers~content, seed 5: finished before"
    # Towers are kept: another split trains nothing.
    compare_retrieval(config, ["two_towers"], 1, split="eval", retrievers=["popularity"])
    assert done == ["asked two_towers-5 eval"]
    assert "[1/1] two_towers, seed 5: evaluated in " in capfd.readouterr().err


def test_other_borders_of_the_head_ask_again_and_train_nothing(config, report, done):
    borders = config.evaluation.model_copy(update={"rare_below": 2, "head_from": 3})
    changed = config.model_copy(update={"evaluation": borders})
    found = compare_retrieval(changed, ["two_towers"], 1, at_k=[5], retrievers=["popularity"])
    assert done == ["asked two_towers-5 test"]
    assert found.head_items > report.head_items
    assert found.lists[0].metrics["hr@5"].values == report.lists[0].metrics["hr@5"].values[:1]


def test_a_killed_comparison_goes_on(tmp_path, prepared, done, monkeypatch):
    class Killed(BaseException):
        """Nothing may catch it, as after SIGKILL."""

    def die(*arguments, **options):
        raise Killed

    config = _config(tmp_path)
    with monkeypatch.context() as patched:
        # The first training is over, its result is not written.
        patched.setattr(finished, "training_facts", die)
        with pytest.raises(Killed):
            compare_retrieval(config, TOWERS, 1, at_k=[5])
    with monkeypatch.context() as patched:
        # The second time the first is whole, and the second has no ranks.
        patched.setattr(
            experiment, "judge", lambda *rest: die() if "~content" in str(rest[0]) else finished.judge(*rest)
        )
        with pytest.raises(Killed):
            compare_retrieval(config, TOWERS, 1, at_k=[5])
    assert not (retrieval_folder(config) / REPORT).exists()
    done.clear()
    report = compare_retrieval(config, TOWERS, 1, at_k=[5])
    assert done == ["asked two_towers~content-5 test"]
    assert {each.verdict for each in report.lists[1].difference.values()} == {"one seed"}
    for folder in (retrieval_folder(config) / "trainings").iterdir():
        kinds = {path.suffix for path in folder.iterdir() if path.is_file()}
        assert kinds == {".json", ".keras", ".npz"} and not (folder / "state").exists()
        model = folder / "two_towers.keras"
    model.write_text("no model")
    with pytest.raises(ModelError, match=r"two_towers\.keras cannot be loaded"):
        compare_retrieval(config, TOWERS, 1, at_k=[5], split="eval")


def _untrained_ranker(trial, data, folder, progress):
    """In the place of `train_trial`."""
    model = new_model(trial.model, trial.params, data.training_data, seed=trial.seed)
    return TrainedTrial(model, TrainingResult([{"loss": 1.0, "val_auc": 0.6}], 0, 400, 100, 50.0), 1.0)


def test_rankers_rank_what_towers_of_their_seed_retrieved(tmp_path, tiny_data, prepared, done, monkeypatch, capfd):
    monkeypatch.setattr(finished, "train_trial", _untrained_ranker)
    monkeypatch.setattr(contenders, "CANDIDATES", (10, 20))
    small = {"models": {"mean_pooling": {"id_dim": 4, "hidden_units": [4]}}}
    config = PipelineConfig.model_validate({**_config(tmp_path).model_dump(), "comparison": small})
    options = {"at_k": [5, 20], "retrievers": ["popularity"], "rankers": ["mean_pooling"]}
    report = compare_retrieval(config, TOWERS, 2, **options)
    lists = [(each.retriever, each.ranker, each.candidates) for each in report.lists]
    ranked = [(None, None), ("mean_pooling", 10), ("mean_pooling", 20)]
    assert lists == [*((towers, *each) for towers in TOWERS for each in ranked), ("popularity", None, None)]
    assert [(ranker.label, ranker.params["id_dim"]) for ranker in report.rankers] == [("mean_pooling", 4)]
    alone, ten, twenty, other, other_ten, other_twenty, _ = report.lists
    # What is not among the first ten is not handed on; of all that are handed on the order alone is another.
    assert set(ten.metrics) == {"hr@5", "recall@5", "ndcg@5", "mrr@5"} and set(ten.coverage) == {"5"}
    assert twenty.metrics["recall@20"].values == alone.metrics["recall@20"].values
    assert twenty.metrics["ndcg@20"].values != alone.metrics["ndcg@20"].values
    assert ten.difference is None and twenty.slice_differences is None
    own, reference = other_ten.metrics["ndcg@5"].values, ten.metrics["ndcg@5"].values
    assert other_ten.difference["ndcg@5"].by_seed == pytest.approx(np.subtract(own, reference))
    assert other_twenty.difference["ndcg@5"].mean != other.difference["ndcg@5"].mean
    assert RetrievalComparison.from_json(json.loads(json.dumps(report.to_json()))) == report
    said = [line.partition(":")[0] for line in _said(capfd)]
    assert said[0].startswith("2 towers, 1 rankers x 2 seeds, 6 trainings")
    expected = ["mean_pooling, seed 5", "two_towers, seed 5", "two_towers~content, seed 5", "mean_pooling, seed 6"]
    assert said[1:5] == [f"[{number}/6] {each}" for number, each in enumerate(expected, start=1)]

    # The second seed's ranks are those of that seed's ranker, asked here once more.
    folder = next((retrieval_folder(config) / "trainings").glob(f"two_towers-6-{'?' * 16}"))
    transform, ids = tiny_data.training_data.transform, tiny_data.training_data.content.item_ids
    towers = TowerRetriever(read_model(folder / "two_towers.keras", "two_towers"), transform, ids)
    had = items_had(list(tiny_data.examples.values()), tiny_data.examples["test"], ids)
    ranker = new_model("mean_pooling", small["models"]["mean_pooling"], tiny_data.training_data, seed=6)
    behind, nobody = Ranker(ranker, transform, ids), np.zeros(len(ids), bool)
    files = tiny_data.examples["test"]
    evaluated = evaluate_retrievers({"": towers}, files, ids, had, 20, nobody, behind, {"": [Cascade(20)]})
    (kept,) = folder.glob("test-*-mean_pooling-6-*-20.npz")
    np.testing.assert_array_equal(ListRanks.load(kept).rank, evaluated.cascades[""][Cascade(20)].rank)

    done.clear()
    monkeypatch.setattr(finished, "train_trial", None)
    compare_retrieval(config, TOWERS, 2, **options)
    assert done == []
    # Another ranker trains no towers again.
    monkeypatch.setattr(finished, "train_trial", _untrained_ranker)
    options["rankers"] = ["mean_pooling@text"]
    again = compare_retrieval(config, ["two_towers"], 1, **options)
    assert done == ["asked two_towers-5 test"]
    printed = io.StringIO()
    print_comparison(again, Console(file=printed, width=160))
    assert "  20, then mean_pooling@text" in Text.from_ansi(printed.getvalue()).plain

    # Another weight asks anew and trains nothing.
    done.clear()
    monkeypatch.setattr(finished, "train_trial", None)
    weighted = compare_retrieval(config, ["two_towers"], 1, **options, weights=[2.0])
    assert done == ["asked two_towers-5 test"]
    both = [(each.candidates, each.retrieval_weight) for each in weighted.lists]
    assert both == [(None, 0.0), (10, 0.0), (10, 2.0), (20, 0.0), (20, 2.0), (None, 0.0)]
    assert weighted.lists[4].metrics["ndcg@20"].values != weighted.lists[3].metrics["ndcg@20"].values
    assert weighted.lists[3].metrics == again.lists[2].metrics
    print_comparison(weighted, Console(file=printed, width=160))
    assert "  20, then mean_pooling@text + 2 x retrieval" in Text.from_ansi(printed.getvalue()).plain


def test_cut_offs_are_checked_before_anything_is_trained(config, prepared, done):
    with pytest.raises(ConfigError, match="--k: got 41; expected at most 40, the items of the catalogue"):
        compare_retrieval(config, ["two_towers~items"], at_k=[41])
    assert done == []


def test_a_key_knows_all_that_a_training_depends_on(tiny_data):
    first = TowerTraining(Label("two_towers", ()), Retrieval(), Training(seed=1))
    others = [
        dataclasses.replace(first, label=Label("two_towers", ("text",))),
        dataclasses.replace(first, label=Label("two_towers", (), ("items",))),
        dataclasses.replace(first, settings=Retrieval(params={"content_dim": 0})),
        dataclasses.replace(first, settings=Retrieval(epochs=3)),
        dataclasses.replace(first, training=Training(seed=2)),
        dataclasses.replace(first, training=Training(seed=1, shuffle_buffer=7)),
    ]
    aged = dataclasses.replace(tiny_data, training_data=dataclasses.replace(tiny_data.training_data, age_buckets=4))
    keys = [each.key(tiny_data) for each in (first, *others)]
    keys += [first.key(aged), first.key(dataclasses.replace(tiny_data, digest="other"))]
    assert len(set(keys)) == len(keys)
    # Without ages their buckets do not count; what is the ranker's alone, neither.
    ageless = dataclasses.replace(first, label=Label("two_towers", (), ("ages",)))
    assert ageless.key(aged) == ageless.key(tiny_data)
    ranker = dataclasses.replace(first, training=Training(seed=1, epochs=9, batch_size=3))
    assert ranker.key(tiny_data) == first.key(tiny_data)
    assert Retrieval(params={"id_dim": 32}) != Retrieval()
    same = dataclasses.replace(first, settings=Retrieval(params={"id_dim": 32}))
    assert same.key(tiny_data) == first.key(tiny_data), "32 is the default"


def test_tables_say_what_is_ahead(report):
    printed = io.StringIO()
    print_comparison(report, Console(file=printed, width=160))
    # Titles are as wide as their tables.
    text = " ".join(Text.from_ansi(printed.getvalue()).plain.split())
    for part in (
        "HR@k, test, ",
        "mean ± standard deviation over 2 seeds",
        "NDCG@k: difference to two_towers, with its 95% interval over users",
        "recall@10 by item positives; below, the difference to two_towers",
        "recall@10 by item frequency (impressions in train)",
        "recall@10 by history length",
        "coverage of the catalogue, and share of the head",
        "recall@100",
        "but for items that the user had before",
    ):
        assert part in text
    assert "Every model was trained with one seed" not in text
    alone = dataclasses.replace(report, seeds=[5])
    print_comparison(alone, Console(file=printed, width=160))
    assert "Every model was trained with one seed" in Text.from_ansi(printed.getvalue()).plain


@pytest.mark.slow
def test_towers_are_trained_with_what_their_label_gives_them(tmp_path, tiny_data, prepared, monkeypatch, capfd):
    monkeypatch.setattr(finished, "train_two_towers", train_two_towers)
    report = compare_retrieval(_config(tmp_path), ["two_towers@text"], 1, at_k=[5], retrievers=["popularity"])
    (towers,) = report.towers
    assert len(towers.history[0]) == 1 and RECALL in towers.history[0][0]
    data = tiny_data.training_data
    of_text = new_model("two_towers", towers.params, data, modalities=["text"], without=[CANDIDATES], seed=1)
    # The constant that is added to each score is not trained.
    assert towers.parameters.trainable == count_parameters(of_text).trainable - 1
    assert "[1/1] two_towers@text, seed 5: trained and evaluated in " in capfd.readouterr().err
