"""Clicks and purchases through the whole pipeline, and out of the served model again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import log_loss, roc_auc_score

from serving import contract
from serving.approximate_index import GRAPH_FILE, IDS_FILE, RECORD_FILE, ApproximateIndex
from serving.client import BadRequest, ClientOptions, RankingClient, RestRankingClient, User
from serving.export.metadata import read_json
from serving.local_server.server import LocalServer
from tfx_pipeline.cli import main

PATIENT = ClientOptions(deadline=60.0)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A configuration file and the summary of its run."""
    from tfx_pipeline.config import load_config
    from tfx_pipeline.runners.run import run as run_pipeline
    from tfx_pipeline.studies.worlds.parts import WORLDS
    from tfx_pipeline.studies.worlds.starter_config import starter_config
    from tfx_pipeline.studies.worlds.synthetic import write_demo_logs

    folder = tmp_path_factory.mktemp("funnel")
    write_demo_logs(folder / "data", world=WORLDS["funnel"], users=200, items=80, requests=3000)
    log = pd.read_parquet(folder / "data" / "interactions.parquet")
    # A purchase of what was not clicked, and a label that is none.
    unclicked = log.index[log["clicked"] == 0]
    log["bought"] = log["bought"].astype(str)
    log.loc[unclicked[:5], "bought"] = "1"
    log.loc[unclicked[5:8], "bought"] = "perhaps"
    log.to_parquet(folder / "data" / "interactions.parquet")
    values = yaml.safe_load(starter_config("funnel", WORLDS["funnel"], "config.yaml"))
    values["model"] = {"name": "din", "params": {"id_dim": 8, "hidden_units": [16, 8], "experts": 2}}
    values["training"] |= {"epochs": 3, "learning_rate": 0.01}
    values["serving"] = {
        "score": "click * buy - 0.01",
        "calibration": "platt",
        "explain": True,
        "warmup_candidates": [1, 20],
    }
    values["stages"] = {
        "retrieval": {"epochs": 2, "params": {"dim": 8}, "approximate": {"at": 50}},
        "ranking": {"candidates": 20},
    }
    values["evaluation"] = {"thresholds": {"auc": {"min": 0.3}, "buy/auc": {"min": 0.3, "min_change": -0.9}}}
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file, run_pipeline(load_config(file), summary_json=folder / "summary.json").to_json()


def test_rows_that_cannot_be_are_quarantined_and_positives_counted(run):
    file, summary = run
    ingestion = summary["ingestion"]
    assert ingestion["quarantined"]["label_without_condition"] == 5
    assert ingestion["quarantined"]["bad_label"] >= 3
    bought = pd.read_parquet(file.parent / "data" / "truth.parquet")["bought"].sum()
    assert sum(ingestion["further_positives"]["buy"].values()) <= bought
    assert sum(ingestion["further_positives"]["buy"].values()) > 0.98 * bought
    assert not any(ingestion["audit"]["violations"].values())
    assert summary["pushed"], summary["failures"]


def test_the_evaluator_judges_the_joint_probability_on_all_impressions(run, tmp_path, capsys):
    """By `dmf score` over the log and scikit-learn, beside the truth's labels."""
    file, summary = run
    output = tmp_path / "scores.parquet"
    log = file.parent / "data" / "interactions.parquet"
    assert main(["score", str(log), "--model", summary["model_path"], "-o", str(output)]) == 0
    capsys.readouterr()
    scores = pd.read_parquet(output)
    np.testing.assert_allclose(scores["score"], scores["score/click"] * scores["score/buy"] - 0.01, atol=1e-6)
    assert scores["score"].min() < 0
    keys = ["user_id", "request_id", "item_id"]
    known = scores.merge(pd.read_parquet(file.parent / "data" / "truth.parquet")[[*keys, "bought"]], on=keys)
    test = known[known["time"] >= pd.Timestamp(summary["ingestion"]["cuts"]["test_from"])]
    metrics = summary["metrics"]["test"]["overall"]
    assert len(test) == metrics["example_count"]
    joint = test["score/click"] * test["score/buy"]
    # Rows that tie but for rounding may change places, each pair for a few millionths.
    assert roc_auc_score(test["bought"], joint) == pytest.approx(metrics["buy/auc"], abs=1e-4)
    assert log_loss(test["bought"], joint) == pytest.approx(metrics["buy/log_loss"], abs=1e-5)
    assert joint.sum() / test["bought"].sum() == pytest.approx(metrics["buy/calibration"], abs=1e-4)
    assert roc_auc_score(test["label"], test["score/click"]) == pytest.approx(metrics["auc"], abs=1e-4)
    assert set(summary["metrics"]["test"]["item_frequency"]["head"]) >= {"buy/auc", "buy/gauc", "buy/ndcg@5"}


@pytest.mark.parametrize("kind", [RankingClient, RestRankingClient])
def test_a_server_answers_the_formula_and_its_parts(run, kind):
    _, summary = run
    version = Path(summary["model_path"])
    user = User("u000001", ["i000001", "i000002"], {"gender": "f", "age": 30.0, "device": "phone"})
    items = [f"i{number:06}" for number in range(30)]
    with LocalServer(version.parent, rest_port=0) as server:
        target = server.rest_target if kind is RestRankingClient else server.target
        with kind(target, version.parent.name, PATIENT) as client:
            assert client.metadata().objectives == ("buy", "click")
            ranking = client.rank(user, items, objectives=True)
            plain = client.rank(user, items)
    click, buy = ranking.objectives["click"], ranking.objectives["buy"]
    np.testing.assert_allclose(ranking.scores, click * buy - 0.01, atol=1e-6)
    np.testing.assert_allclose(plain.scores, ranking.scores, atol=1e-6)


def test_a_page_out_of_the_catalogue_is_what_rank_makes_of_what_was_retrieved(run):
    _, summary = run
    version = Path(summary["model_path"])
    user = User("u000001", ["i000001", "i000002"], {"gender": "f", "age": 30.0, "device": "phone"})
    with LocalServer(version.parent) as server, RankingClient(server.target, version.parent.name, PATIENT) as client:
        found = client.retrieve(user, 20)
        page = client.recommend(user, 5, objectives=True)
        ranked = client.rank(user, list(found.items), objectives=True, version=found.model_version)
        others = client.recommend(user, 5, exclude=page.items, exclude_history=True)
        # The index that was pushed with the version.
        index = ApproximateIndex.load(version)
        by_index = client.recommend(user, 5, objectives=True, index=index)
        nobody = client.recommend(User("nobody", [], dict.fromkeys(user.features)), 20)
        nothing = client.recommend(user, 5, exclude=[f"i{number:06}" for number in range(100)])
        with pytest.raises(BadRequest, match="k"):
            client.recommend(user, 21)
    np.testing.assert_allclose(page.scores, ranked.scores[:5], atol=1e-6)
    np.testing.assert_allclose(page.objectives["buy"], ranked.objectives["buy"][:5], atol=1e-5)
    assert [found.items[rank - 1] for rank in page.retrieval_ranks] == list(page.items)
    assert (by_index.items, by_index.model_version) == (page.items, page.model_version)
    np.testing.assert_allclose(by_index.objectives["buy"], page.objectives["buy"], atol=1e-5)
    scores = dict(zip(found.items, ranked.scores_in_request_order, strict=True))
    np.testing.assert_allclose(page.scores, [scores[item] for item in page.items], atol=1e-6)
    assert not set(others.items) & {*page.items, *user.history}
    assert len(set(nobody.items)) == 20 and len(nothing.items) == 0


def test_what_became_of_retrieval_is_told(run):
    _, summary = run
    stage, train_requests = summary["retrieval"], summary["ingestion"]["splits"]["train"]["requests"]
    (step,) = (step for step in summary["steps"] if step["node"] == "RetrievalTrainer")
    assert step["rows"] == stage["training"]["train_requests"] == train_requests
    exported, history = stage["exported"], stage["training"]["history"]
    assert (exported["items"], exported["width"], exported["ranked_candidates"]) == (80, 8, 20)
    assert exported["metrics"] == history[exported["best_epoch"]]
    assert (exported["approximate"]["at"], exported["approximate"]["items"]) == (50, 80)
    assert 0.95 <= exported["approximate"]["recall"] <= 1
    pushed = json.loads(Path(summary["model_path"], contract.MANIFEST_FILE).read_text(encoding="utf-8"))["files"]
    assert {RECORD_FILE, GRAPH_FILE, IDS_FILE} <= set(pushed)
    limited = exported["best_epoch"] + 1 == 2
    assert any("training of retrieval" in warning for warning in summary["warnings"]) == limited
    metadata = read_json(Path(summary["model_path"]), contract.METADATA_FILE)
    assert metadata["retrieval"] == exported
    assert metadata["artifacts"]["retrieval_run"] == summary["artifacts"]["retrieval_training"]


def test_retrieval_is_evaluated_beside_what_needs_no_training(run, tmp_path, capsys):
    file, summary = run
    out = tmp_path / "retrieval.json"
    assert main(["retrieval", "evaluate", "--config", str(file), "--k", "5,20", "--cascade", "--json", str(out)]) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    names = {each["retriever"] for each in report["lists"]}
    assert {"two_towers", "popularity", "co_occurrence", "content"} <= names
    capsys.readouterr()
    assert main(["recommend", "--model", summary["model_path"], "--user", "u000003", "--top", "3", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert [entry["score"] for entry in page["page"]] == sorted((e["score"] for e in page["page"]), reverse=True)
    assert set(page["page"][0]["objectives"]) == {"click", "buy"}
    assert page["catalogue"] == 80 and page["ranked"] == 20
    by_index = ["--model", summary["model_path"], "--user", "u000003", "--top", "3", "--approximate", "--json"]
    assert main(["recommend", *by_index]) == 0
    assert [each["item"] for each in json.loads(capsys.readouterr().out)["page"]] == [e["item"] for e in page["page"]]


def test_commands_say_which_objective_they_mean(run, capsys):
    _, summary = run
    model = summary["model_path"]
    assert main(["rank", "--model", model, "--user", "u000003", "--top", "3", "--json"]) == 0
    ranked = json.loads(capsys.readouterr().out)
    best = ranked["ranking"][0]
    assert best["score"] == pytest.approx(best["objectives"]["click"] * best["objectives"]["buy"] - 0.01, abs=1e-6)
    assert "score is click * buy - 0.01; buy is given click" in ranked["notes"]
    assert main(["explain", "--model", model, "--user", "u000003", "--candidate", best["item"], "--json"]) == 0
    explained = json.loads(capsys.readouterr().out)
    assert explained["score"] == pytest.approx(best["objectives"]["click"], abs=1e-5)
    assert any("explained is objective 'click'" in note for note in explained["notes"])
    assert main(["replay", "--model", model]) == 0
    assert "equal at every stage" in capsys.readouterr().out
    assert main(["model", "inspect", model]) == 0
    assert "click; buy, given click" in capsys.readouterr().out


def test_the_page_shows_every_objective(run, tmp_path):
    _, summary = run
    page = tmp_path / "report.html"
    assert main(["report", summary["output"], "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert (
        "Objectives beside the main one" in text and f"{summary['metrics']['test']['overall']['buy/auc']:.4f}" in text
    )
    assert "recall@100 of eval by epoch" in text and "Exported with the ranker" in text


def test_models_are_compared_and_tuned_by_every_objective(run, tmp_path):
    file, _ = run
    small = ["--set", "training.epochs=1", "--set", "comparison.models={din: {}, mean_pooling: {}}"]
    out = tmp_path / "compare.json"
    command = ["compare", "--config", str(file), *small, "--set", "comparison.reference=din", "--seeds", "1"]
    assert main([*command, "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    for model in report["models"]:
        assert 0 < model["metrics"]["buy/auc"]["mean"] < 1
        if model["difference"] is not None:
            assert model["difference"]["buy/gauc"]["low"] is not None
    tuned = ["--set", "tuning.objective=buy/auc", "--set", "tuning.space={training.learning_rate: {choice: [0.01]}}"]
    assert main(["tune", "--config", str(file), *small, "--models", "din", "--trials", "1", *tuned]) == 0
