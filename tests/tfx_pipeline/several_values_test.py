"""Columns of several values from a log to a served model, in a world in which one of them alone predicts clicks."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from serving import contract
from serving.client import BadRequest, ClientOptions, RankingClient, RestRankingClient, User, UserState
from serving.export.servable import Servable, request_arrays
from serving.export.servable_check import check_servable
from serving.load import draw_requests, golden_columns, golden_users
from serving.local_server.batching import BatchingOptions
from serving.local_server.server import LocalServer
from tfx_pipeline.cli import main
from tfx_pipeline.config import load_config
from tfx_pipeline.errors import DataError
from tfx_pipeline.runners.run import run as run_pipeline
from tfx_pipeline.trained.explain.explanation import explain
from tfx_pipeline.trained.replay.replay import replay
from tfx_pipeline.trained.version import Version

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

USERS, ITEMS, TOPICS, SHOWN = 1500, 24, 6, 8
CATALOGUE = [f"i{number}" for number in range(ITEMS)]
PATIENT = ClientOptions(deadline=60.0)


def _interests(rng: np.random.Generator) -> list[list[str]]:
    return [[f"topic {topic}" for topic in rng.choice(TOPICS, rng.integers(0, 4), replace=False)] for _ in range(USERS)]


def _write_world(folder: Path) -> None:
    """Every user is there once, so that no history and no id tells anything: only interests do."""
    rng = np.random.default_rng(0)
    interests = _interests(rng)
    with (folder / "users.jsonl").open("w") as users, (folder / "log.jsonl").open("w") as log:
        for user, own in enumerate(interests):
            # What is said twice counts once, and one value of JSON is a list of one.
            said = own * 2 if user % 7 == 0 else own[0] if len(own) == 1 and user % 2 else own or None
            users.write(json.dumps({"user_id": f"u{user}", "interests": said}) + "\n")
            placement = ["home; top", "home", "search;;side;side", "", None][user % 5]
            for item in rng.choice(ITEMS, SHOWN, replace=False):
                liked = f"topic {item % TOPICS}" in own
                row = {"user_id": f"u{user}", "item_id": f"i{item}", "timestamp": 1_700_000_000 + 600 * user}
                row |= {"label": int(rng.random() < (0.8 if liked else 0.1)), "placement": placement}
                log.write(json.dumps(row) + "\n")
    (folder / "items.csv").write_text("\n".join(["item_id", *CATALOGUE]) + "\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with logs and configuration, and the summary of its run."""
    folder = tmp_path_factory.mktemp("several")
    _write_world(folder)
    values = {
        "name": "shop",
        "output": "out",
        "data": {
            "interactions": {"path": "log.jsonl", "time_unit": "s"},
            "items": {"path": "items.csv"},
            "users": {"path": "users.jsonl"},
        },
        "split": {"fractions": {"train": 0.7, "eval": 0.15, "test": 0.15}},
        "features": {
            "user": {"interests": {"kind": "categorical", "multiple": True, "max_values": 3}},
            "context": {"placement": {"kind": "categorical", "multiple": True, "separator": ";", "min_count": 2}},
        },
        "model": {
            "name": "mean_pooling",
            "params": {"id_dim": 8, "feature_dim": 8, "hidden_units": [32, 16], "embedding_l2": 1e-3},
        },
        "training": {"epochs": 8, "batch_size": 64, "learning_rate": 0.01, "patience": 3},
        "evaluation": {"thresholds": {"auc": {"min": 0.3}}},
        "serving": {"explain": True, "warmup_candidates": [1, 10]},
    }
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(values))
    return folder, run_pipeline(load_config(file), summary_json=folder / "summary.json").to_json()


@pytest.fixture(scope="module")
def version(run):
    return Path(run[1]["model_path"])


@pytest.fixture(scope="module")
def direct(version):
    """Returns direct(items, **changes): scores by the exported model in this process."""
    found = contract.ModelContract.read(version)
    servable = Servable(version, optimised=False)

    def score(items=CATALOGUE, **changes):
        request = {"user_id": "", "interests": [], "placement": [], contract.CANDIDATE_ITEM_ID: items, **changes}
        return servable.run(contract.RANK, request_arrays(request, found))[contract.SCORE][0]

    yield score
    servable.close()


class TestModel:
    def test_it_learns_what_only_the_interests_tell(self, run, direct):
        _, summary = run
        assert summary["pushed"], summary["failures"]
        assert not any(summary["ingestion"]["audit"]["violations"].values())
        rng = np.random.default_rng(1)
        wanted, right, wrong = [], [], []
        for own, others in zip(_interests(rng)[:100], _interests(rng)[:100], strict=True):
            wanted += [f"topic {item % TOPICS}" in own for item in range(ITEMS)]
            right += direct(interests=own).tolist()
            wrong += direct(interests=others).tolist()
        assert roc_auc_score(wanted, right) > 0.9
        assert roc_auc_score(wanted, wrong) < 0.6
        assert summary["metrics"]["test"]["overall"]["gauc"] > 0.7

    def test_a_row_of_the_table_for_each_value_of_train(self, version):
        import tensorflow as tf

        with Servable(version, optimised=False) as servable:
            arrays = request_arrays(
                {"user_id": "", "interests": ["topic 1", "never seen"], "candidate_item_id": ["i1"]},
                contract.ModelContract.read(version),
            )
            found = servable.run(contract.TRANSFORM, arrays)
        assert found["placement"].tolist() == [[0]]
        known, unknown = found["interests"][0].tolist()
        assert 1 <= known <= TOPICS and unknown == TOPICS + 1
        assert found["interests"].dtype == tf.int32.as_numpy_dtype

    def test_all_ways_give_the_scores_of_keras(self, version):
        problems, figures = check_servable(version, 1e-5)
        assert problems == [] and figures["golden_requests"] > 10
        cases = {entry["case"]: entry["request"] for entry in json.loads((version / contract.GOLDEN_FILE).read_text())}
        assert cases["unknown and repeated values"]["interests"][0] == "__never_seen__"

    def test_the_contract_names_them(self, version):
        found = contract.ModelContract.read(version)
        assert found.user_lists == ("interests", "placement")
        assert found.user_inputs == dict.fromkeys(found.user_lists, "string")
        for name in (contract.RANK, contract.USER_TOWER, contract.EXPLAIN):
            assert found.signatures[name]["inputs"]["interests"].shape == (None, None)
        assert "interests" not in found.signatures[contract.CANDIDATE]["inputs"]

    def test_repeated_values_their_order_and_padding_change_nothing(self, direct):
        before = direct(interests=["topic 1", "topic 2"], placement=["home"])
        for interests, placement in (
            (["topic 2", "topic 1", "topic 1", "topic 2", "topic 2"], ["home"]),
            (["", "topic 1", "", "topic 2", "", "topic 1"], ["", "", "home", "home", ""]),
        ):
            np.testing.assert_allclose(direct(interests=interests, placement=placement), before, atol=1e-6)
        assert np.abs(direct(interests=["topic 1"], placement=["home"]) - before).max() > 1e-3

    def test_the_first_different_ones_count(self, direct):
        first = [f"topic {number}" for number in range(3)]
        before = direct(interests=first)
        np.testing.assert_allclose(direct(interests=[*first * 50, "topic 4", "topic 5"]), before, atol=1e-6)
        assert np.abs(direct(interests=[*first[:2], "topic 4"]) - before).max() > 1e-3

    def test_none_and_empty_are_one_state_and_unseen_ones_another(self, direct):
        empty = direct()
        np.testing.assert_array_equal(direct(interests=None, placement=[""]), empty)
        unseen = direct(interests=["never seen"])
        assert np.abs(unseen - empty).max() > 1e-6
        np.testing.assert_allclose(direct(interests=["nor this"]), unseen, atol=1e-6)

    @pytest.mark.parametrize("value", ["topic 1", [1], 3.0])
    def test_a_request_without_a_list_is_refused(self, direct, value):
        with pytest.raises(ValueError, match="interests must be a list of texts"):
            direct(interests=value)


@pytest.fixture(scope="module")
def server(version):
    with LocalServer(version.parent, rest_port=0, batching=BatchingOptions()) as server:
        yield server


@pytest.fixture(params=["grpc", "rest"])
def client(request, server):
    grpc = request.param == "grpc"
    kind, target = (RankingClient, server.target) if grpc else (RestRankingClient, server.rest_target)
    with kind(target, "shop", ClientOptions(deadline=60.0, max_candidates_per_call=9)) as client:
        yield client


class TestServed:
    @pytest.mark.parametrize("interests", [["topic 1", "topic 2"], [], None, ("topic 3",), np.array(["topic 3"])])
    def test_scores_are_those_of_the_model(self, client, direct, interests):
        metadata = client.metadata()
        assert metadata.lists == {"interests", "placement"} and set(metadata.features) == metadata.lists
        user = User("u1", [], {"interests": interests, "placement": ["home"]})
        expected = direct(interests=None if interests is None else list(interests), placement=["home"])
        ranking = client.rank(user, CATALOGUE)
        np.testing.assert_allclose(ranking.scores_in_request_order, expected, atol=1e-5)
        state = UserState.from_bytes(client.encode_user(user).to_bytes())
        kept = client.score(state, CATALOGUE)
        np.testing.assert_allclose(kept.scores_in_request_order, expected, atol=1e-5)

    def test_lists_of_unequal_length_are_batched(self, server, direct):
        given = [["topic 1"], [], ["topic 4", "topic 1", "topic 2"], ["topic 0", "topic 0"]] * 2

        def ask(interests):
            with RankingClient(server.target, "shop", PATIENT) as client:
                user = User("", [], {"interests": interests, "placement": []})
                return client.rank(user, CATALOGUE[:5]).scores_in_request_order

        with ThreadPoolExecutor(8) as threads:
            for interests, found in zip(given, threads.map(ask, given), strict=True):
                np.testing.assert_allclose(found, direct(CATALOGUE[:5], interests=interests), atol=1e-5)

    def test_load_keeps_lists_with_their_users(self, version):
        assert golden_columns(version) == {}
        users = golden_users(version)
        assert any(len(user["interests"] or ()) > 1 for user in users)
        (one,) = draw_requests(CATALOGUE, users, candidates=7, history=2, count=1)
        assert not one.columns and {"interests", "placement"} <= set(one.user)

    def test_what_does_not_fit_is_refused_and_the_server_stays_up(self, client, direct):
        with pytest.raises(BadRequest, match="feature 'interests' must be a list of strings or None, got str") as bad:
            client.rank(User("", [], {"interests": "topic 1", "placement": []}), CATALOGUE)
        assert bad.value.field == "interests"
        ranking = client.rank(User("", [], {"interests": [], "placement": []}), CATALOGUE)
        np.testing.assert_allclose(ranking.scores_in_request_order, direct(), atol=1e-5)


class TestCommands:
    def test_rank_takes_them_from_the_logs(self, version, capsys, direct):
        users = dict(enumerate(_interests(np.random.default_rng(0))))
        user = next(number for number, own in users.items() if len(own) == 2 and number % 5 == 0)
        assert main(["rank", "--model", str(version), "--user", f"u{user}", "--top", str(ITEMS), "--json"]) == 0
        found = {entry["item"]: entry["score"] for entry in json.loads(capsys.readouterr().out)["ranking"]}
        log = pd.read_json(version.parents[3] / "log.jsonl", lines=True)
        own = log[(log["user_id"] == f"u{user}") & (log["label"] == 1)]["item_id"].tolist()
        expected = direct(user_id=f"u{user}", history_item_id=own, interests=users[user], placement=["home", "top"])
        np.testing.assert_allclose([found[item] for item in CATALOGUE], expected, atol=1e-6)

    def test_score_reads_them_of_the_log_and_the_user_table(self, version, tmp_path, direct):
        assert main(["score", str(version.parents[3] / "log.jsonl"), "--model", str(version),
                     "-o", str(tmp_path / "scores.parquet")]) == 0  # fmt: skip
        scores = pd.read_parquet(tmp_path / "scores.parquet")
        users = _interests(np.random.default_rng(0))
        for user in (0, 2, 7, 12):
            rows = scores[scores["user_id"] == f"u{user}"]
            placement = {0: ["home", "top"], 2: ["search", "side"]}[user % 5]
            expected = direct(rows["item_id"].tolist(), user_id=f"u{user}", interests=users[user], placement=placement)
            np.testing.assert_allclose(rows["score"], expected, atol=1e-6)

    def test_explain_counts_them_among_the_columns(self, version, direct):
        users = dict(enumerate(_interests(np.random.default_rng(0))))
        # Of one interest, and with the placement home alone.
        user, own = next((number, own) for number, own in users.items() if len(own) == 1 and number % 5 == 1)
        topic = int(own[0].split()[1])
        items = [f"i{topic}", f"i{(topic + 1) % TOPICS}"]
        liked, other = (explain(Version(version), f"u{user}", item, history=[]) for item in items)
        for told in (liked, other):
            assert sum(entry.contribution for entry in told.parts) + told.base_logit == pytest.approx(
                told.logit, abs=1e-4
            )
        expected = direct(items, user_id=f"u{user}", interests=own, placement=["home"])
        np.testing.assert_allclose([liked.score, other.score], expected, atol=1e-5)
        assert liked.score > other.score

    def test_replay_takes_them_from_json_lines(self, version, tmp_path, direct):
        file = tmp_path / "captured.jsonl"
        line = {"user_id": "u1", "history": [], "candidates": CATALOGUE, "interests": ["topic 1"]}
        file.write_text(json.dumps({**line, "score": direct(user_id="u1", interests=["topic 1"]).tolist()}))
        report = replay(Version(version), file, run=None, tolerance=1e-4)
        assert report.equal and report.count == 1
        file.write_text(json.dumps({**line, "interests": "topic 1"}))
        with pytest.raises(DataError, match="line 1: interests must be a list of texts"):
            replay(Version(version), file, run=None, tolerance=1e-4)
        assert replay(Version(version), None, run=None, tolerance=1e-4).equal

    def test_the_page_and_inspect(self, run, version, tmp_path, capsys):
        assert main(["report", str(run[0] / "out"), "--out", str(tmp_path / "report.html")]) == 0
        assert "interests" in (tmp_path / "report.html").read_text(encoding="utf-8")
        assert main(["model", "inspect", str(version)]) == 0
        assert "interests" in capsys.readouterr().out

    def test_models_are_compared(self, run, tmp_path, capsys):
        out = tmp_path / "compare.json"
        command = ["compare", "--config", str(run[0] / "config.yaml"), "--models", "mean_pooling,din", "--seeds", "1"]
        assert main([*command, "--set", "training.epochs=1", "--json", str(out)]) == 0
        assert {entry["label"] for entry in json.loads(out.read_text())["models"]} == {"mean_pooling", "din"}


def test_a_baseline_to_which_a_column_is_one_value_is_passed_over(version, tmp_path):
    from tfx_pipeline.components.comparable_models import reads_the_same_examples

    def model(name, **changes):
        folder = tmp_path / name / "Format-Serving"
        folder.parent.mkdir()
        shutil.copytree(version, folder)
        values = json.loads((folder / contract.CONTRACT_FILE).read_text()) | changes
        (folder / contract.CONTRACT_FILE).write_text(json.dumps(values))
        return str(folder.parent)

    ours = model("ours")
    assert reads_the_same_examples(model("same"), ours)
    assert not reads_the_same_examples(model("one", user_lists=["placement"]), ours)
    assert reads_the_same_examples(
        model("without", user_inputs={"placement": "string"}, user_lists=["placement"]), ours
    )
