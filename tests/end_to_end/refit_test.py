"""`training.refit` on the finished run's logs: the first model is evaluated, the refitted one is pushed.

Of `ANOTHER`, which is in the cache where tests/end_to_end/local_pipeline_test.py came before.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving import contract
from serving.export.metadata import read_json
from tests.end_to_end.conftest import ANOTHER
from tfx_pipeline.cli import main
from tfx_pipeline.config import load_config

REFIT = "training.refit=true"
SERVED = {"RefitTrainer", "ServingGate", "Pusher"}

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def _run(finished_run, *settings: str) -> dict:
    from tfx_pipeline.runners.run import run

    return run(load_config(finished_run.config_file, [*ANOTHER, *settings])).to_json()


@pytest.fixture(scope="module")
def before(finished_run) -> dict:
    """The run without a refit, from the cache: other tests may have gone on with it."""
    return _run(finished_run)


@pytest.fixture(scope="module")
def refitted(finished_run, before) -> dict:
    return _run(finished_run, REFIT)


def _states(summary: dict) -> dict[str, str]:
    return {step["node"]: step["state"] for step in summary["steps"]}


def test_only_the_refit_and_what_serves_it_run(before, refitted):
    states = _states(refitted)
    assert list(states)[list(states).index("RankingTrainer") :].count("RefitTrainer") == 1
    assert {node for node, state in states.items() if state == "ran"} - {"LatestBlessedModel"} == SERVED
    splits = refitted["ingestion"]["splits"]
    (step,) = (step for step in refitted["steps"] if step["node"] == "RefitTrainer")
    assert step["rows"] == splits["train"]["requests"] + splits["eval"]["requests"]


def test_metrics_are_those_of_the_first_model(before, refitted):
    for key in ("metrics", "training", "validation", "baselines"):
        assert refitted[key] == before[key], key
    assert refitted["artifacts"]["model"] == before["artifacts"]["model"]
    assert "refit" not in before and "refitted_model" not in before["artifacts"]


def test_what_is_pushed_is_the_refit_and_says_so(refitted, capsys):
    pushed, note = refitted["model_path"], refitted["refit"]["note"]
    assert refitted["pushed"]
    assert "all metrics are of the model before it" in note
    metadata = read_json(pushed, contract.METADATA_FILE)
    assert metadata["refit"] == refitted["refit"]
    assert metadata["artifacts"]["model_run"].split("/")[-3] == "RefitTrainer"
    evaluation = read_json(pushed, contract.EVALUATION_FILE)
    assert evaluation["note"] == note
    assert evaluation["metrics"]["test"]["overall"]["auc"] == refitted["metrics"]["test"]["overall"]["auc"]
    assert main(["model", "inspect", pushed, "--verify"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "refitted The pushed model was refitted" in printed
    assert "train and eval, refitted, epoch" in printed
    assert "by the model before the refit" in printed


def test_the_pushed_model_is_replayed_ranked_explained_and_scored(refitted, finished_run, tmp_path, capsys):
    pushed = refitted["model_path"]
    assert main(["replay", "--model", pushed, "--run", refitted["output"]]) == 0
    capsys.readouterr()
    assert main(["rank", "--model", pushed, "--user", "u000001", "--top", "3", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["ranking"][0]
    explain = ["explain", "--model", pushed, "--user", "u000001", "--candidate", best["item"], "--json"]
    assert main([*explain, "--run", refitted["output"]]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(best["score"], abs=1e-5)
    log = finished_run.config_file.parent / "data" / "interactions.parquet"
    assert main(["score", str(log), "--model", pushed, "-o", str(tmp_path / "scores.parquet")]) == 0


def test_its_scores_are_not_those_of_the_first(refitted):
    first, pushed = (
        json.loads(Path(folder, contract.GOLDEN_FILE).read_text())
        for folder in (refitted["artifacts"]["model"], refitted["model_path"])
    )
    assert [case["request"] for case in first] == [case["request"] for case in pushed]
    assert any(one["scores"] != other["scores"] for one, other in zip(first, pushed, strict=True))


def test_page_and_console_say_of_which_model_the_figures_are(refitted, tmp_path, finished_run, capfd):
    assert main(["report", refitted["output"], "--out", str(tmp_path / "report.html")]) == 0
    note = refitted["refit"]["note"]
    assert note in (tmp_path / "report.html").read_text()
    again = _run(finished_run, REFIT)
    assert set(_states(again).values()) - {"cached"} <= {"ran"} and _states(again)["Pusher"] == "cached"
    assert note in capfd.readouterr().err


def test_a_model_that_is_not_blessed_pushes_no_refit(refitted, finished_run):
    held = _run(finished_run, REFIT, "evaluation.thresholds.auc.min=0.999")
    assert not held["pushed"] and held["model_path"] is None
    # Thresholds are no matter of the refit.
    assert _states(held)["RefitTrainer"] == "cached"
    assert held["validation"]["blessed"] is False


def test_back_without_a_refit_the_first_model_is_pushed_again(refitted, finished_run):
    back = _run(finished_run)
    assert "RefitTrainer" not in _states(back) and _states(back)["Pusher"] == "ran"
    assert "refit" not in read_json(back["model_path"], contract.METADATA_FILE)
    forward = _run(finished_run, REFIT)
    assert (_states(forward)["RefitTrainer"], _states(forward)["Pusher"]) == ("cached", "ran")
    assert "refit" in read_json(forward["model_path"], contract.METADATA_FILE)
