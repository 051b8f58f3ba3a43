"""`dmf report` of a real run: what the page says is what the run's own summary says, and a browser shows it whole."""

from __future__ import annotations

import dataclasses
import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tfx_pipeline.pages.browser import CHROMIUM, Browser

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def output(finished_run) -> Path:
    return Path(finished_run.summary["output"])


@pytest.fixture(scope="module")
def run(output):
    from tfx_pipeline.pages.run.finished_run import read_run

    return read_run(output)


@pytest.fixture(scope="module")
def page(output, tmp_path_factory) -> Path:
    from tfx_pipeline.pages.run.report_page import write_report

    return write_report(output, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine to open the page with")
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


def test_run_is_read_as_its_summary_has_it(run, finished_run):
    summary = finished_run.summary
    assert run.pipeline == summary["pipeline"]
    assert {step.node for step in run.steps} == {step["node"] for step in summary["steps"]}
    assert all(step.state in ("ran", "cached") for step in run.steps)
    # TensorFlow alone is some hundred MiB; a step from the cache has held nothing.
    assert all((step.peak_memory_mb > 100) == (step.state == "ran") for step in run.steps)
    assert str(run.folder("BehaviorLogExampleGen", "examples")) == summary["artifacts"]["examples"]
    assert str(run.folder("Evaluator", "evaluation")) == summary["artifacts"]["evaluation"]
    assert run.section("model")["name"] == summary["model"]
    assert run.failed is None


def test_the_page_warns_as_the_summary_does(page, finished_run):
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert finished_run.summary["warnings"]
    for warning in finished_run.summary["warnings"]:
        assert warning in text


def test_moved_output_is_read_where_it_is_now(run, output, tmp_path):
    from tfx_pipeline.pages.run.finished_run import read_run

    moved = tmp_path / "elsewhere"
    shutil.copytree(output, moved, ignore=shutil.ignore_patterns("serving", "data"))
    found = read_run(moved)
    assert [one.number for one in found.artifacts] == [one.number for one in run.artifacts]
    assert all(one.path.is_relative_to(moved) for one in found.artifacts if one.node != "LatestBlessedModel")


def test_folder_without_a_run_is_refused(tmp_path):
    from tfx_pipeline.errors import DataError
    from tfx_pipeline.pages.run.finished_run import read_run

    with pytest.raises(DataError, match="holds no run"):
        read_run(tmp_path)
    (tmp_path / "metadata.sqlite").write_text("no database")
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path)


def test_damaged_examples_of_a_run_are_named(output, tmp_path, capfd):
    from tfx_pipeline.cli import main

    damaged = tmp_path / "damaged"
    shutil.copytree(output, damaged, ignore=shutil.ignore_patterns("serving", "data"))
    for shard in damaged.glob("artifacts/BehaviorLogExampleGen/examples/*/Split-test/*.gz"):
        shard.write_bytes(shard.read_bytes()[:-100])
    assert main(["report", str(damaged)]) == 1
    said = capfd.readouterr().err
    assert f"stopped: {damaged}/artifacts/BehaviorLogExampleGen/examples/" in said
    assert "cannot be read: " in said and "dmf run --no-cache BehaviorLogExampleGen makes it anew" in said
    assert not (damaged / "report.html").exists()


def test_page_has_the_summary_s_numbers(page, finished_run):
    text = re.sub(r"<svg.*?</svg>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    overall = finished_run.summary["metrics"]["test"]["overall"]
    for metric in ("auc", "gauc", "log_loss", "normalized_entropy", "calibration", "hr@5", "ndcg@10", "mrr"):
        assert f"{overall[metric]:.4f}" in text, metric
    assert f"{finished_run.summary['ingestion']['rows_read']:,}" in text
    assert "Pushed as version" in text
    assert "None" not in text
    assert not re.search(r"\bnan\b", text)


def test_own_scores_are_the_evaluator_s(run, finished_run):
    """What the page draws from the Keras model is what the Evaluator measured on the exported one."""
    from tfx_pipeline.config.metrics import by_request
    from tfx_pipeline.evaluation.item_facts import read_item_facts
    from tfx_pipeline.evaluation.known_users import read_known_users
    from tfx_pipeline.evaluation.metrics import values
    from tfx_pipeline.pages.run.scores import score_test_split
    from tfx_pipeline.trained.keras_model import KerasModel
    from tfx_pipeline.transform.dataset import split_files

    model_dir = run.folder("RankingTrainer", "model") / "Format-Serving"
    trained = KerasModel(model_dir, run.output)
    files = split_files(run.folder("BehaviorLogExampleGen", "examples"), "test")
    scores = score_test_split(
        trained.model,
        trained.transform,
        files,
        read_item_facts(model_dir),
        read_known_users(model_dir),
        split_requests=len(files),
    )
    overall = finished_run.summary["metrics"]["test"]["overall"]
    assert len(scores.labels) == overall["example_count"]
    for name, value in values(scores.rows, ("auc", "gauc", *by_request())).items():
        assert value == pytest.approx(overall[name], abs=1e-3), name
    low, high = scores.intervals["", ""]["auc"]
    assert low < overall["auc"] < high


def test_page_of_a_run_that_was_not_pushed_says_why(run):
    from tfx_pipeline.evaluation.results import Validation
    from tfx_pipeline.pages.run.report_page import verdicts

    artifacts = [
        dataclasses.replace(one, properties={"pushed": 0}) if one.node == "Pusher" else one for one in run.artifacts
    ]
    refused = dataclasses.replace(run, artifacts=artifacts)
    found = verdicts(refused, Validation(False, ["auc on split 'test' is 0.4; expected at least 0.6"]))
    assert [(one.tone, one.text.split()[0]) for one in found] == [("bad", "Not"), ("bad", "auc")]


def test_page_in_a_browser(page, browser):
    assert page.stat().st_size < 2e6
    for scheme in ("light", "dark"):
        browser.open(page, scheme=scheme)
        assert browser.complaints() == []
        assert browser.requests() == []
        assert [one for one in browser.contrasts() if one["ratio"] < 4.5] == []
    pictures = browser.pictures()
    names = [one["name"] for one in pictures]
    assert len(names) == len(set(names)) >= 18
    assert all(one["width"] > 250 and one["height"] > 100 and one["drawn"] > 10 for one in pictures), pictures
    for wanted in ("Attention and pairs by similarity of text", "AUC without either branch", "Share of clicks"):
        assert any(wanted in name for name in names), wanted

    browser.open(page, width=1440)
    assert browser.covered_legends() == []
    assert browser.half_empty() < 0.06
    browser.open(page, width=400)
    assert browser.overflow() <= 0
    assert all(one["smallest"] > 8 for one in browser.pictures())
