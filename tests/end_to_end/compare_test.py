"""`dmf compare` on the finished run's logs: killed and gone on with, its report by hand, the pipeline's cache."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).resolve().parents[2]
MODELS = "dmf,din,dmf@text"
SETTINGS = ("training.batch_size=32", "training.epochs=2", "training.patience=2", "model.params={id_dim: 8}")
DATA_STEPS = {"BehaviorLogExampleGen", "ItemContentGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform"}

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@dataclasses.dataclass(frozen=True)
class Compared:
    """A comparison that was killed in its second training, and called again."""

    report: dict
    printed: str
    folder: Path


@pytest.fixture(scope="module")
def config(finished_run):
    from tfx_pipeline.config import load_config

    return load_config(finished_run.config_file, SETTINGS)


@pytest.fixture(scope="module")
def compared(finished_run, config, tmp_path_factory) -> Compared:
    folder = tmp_path_factory.mktemp("compared")
    arguments = ["compare", "--config", str(finished_run.config_file), "--models", MODELS, "--seeds", "2"]
    arguments += ["--json", str(folder / "report.json")] + [word for s in SETTINGS for word in ("--set", s)]
    command = [sys.executable, "-m", "tfx_pipeline.cli", *arguments]
    console = folder / "console.txt"
    with console.open("w") as output:
        process = subprocess.Popen(command, stderr=output, start_new_session=True, cwd=ROOT)
        deadline = time.monotonic() + 1200
        while "[2/6] din, seed 42  epoch 1/2" not in console.read_text() and time.monotonic() < deadline:
            assert process.poll() is None, console.read_text()
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (folder / "report.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800, cwd=ROOT)
    assert again.returncode == 0, again.stderr[-3000:]
    report = json.loads((folder / "report.json").read_text())
    return Compared(report, again.stderr, config.output / "compare")


def test_goes_on_where_it_was_killed(compared):
    assert "[1/6] dmf, seed 42: finished before" in compared.printed
    assert "[2/6] din, seed 42  epoch 1/2" not in compared.printed
    assert "[2/6] din, seed 42  epoch 2/2" in compared.printed
    assert "[6/6] dmf@text, seed 43: trained and scored" in compared.printed
    assert "Traceback" not in compared.printed
    by_label = {model["label"]: model for model in compared.report["models"]}
    assert by_label["din"]["training"]["epochs"] == [2, 2]


def test_prints_tables_and_where_things_lie(compared):
    for words in ("difference to dmf", "GAUC by impressions", "cost", str(compared.folder / "compare.html")):
        assert words in compared.printed
    assert json.loads((compared.folder / "compare.json").read_text()) == compared.report
    assert (compared.folder / "compare.html").stat().st_size > 1000


def test_data_steps_are_those_of_the_run(finished_run, config):
    from tfx_pipeline.files.output_folder import hold_output
    from tfx_pipeline.runners.local import run_pipeline

    with hold_output(config.output, "test"):
        steps = run_pipeline(config, until="Transform")
    assert {step.node: step.state for step in steps} == dict.fromkeys(DATA_STEPS, "cached")


def test_metrics_are_those_of_the_rows(compared):
    from tfx_pipeline.evaluation.candidate_table import CandidateTable

    for model in compared.report["models"]:
        name = model["label"].partition("@")[0]
        files = compared.folder.glob(f"trainings/{name}-*/rows.npz")
        found = []
        for file in files:
            table = CandidateTable.load(file)
            found.append(roc_auc_score(table.labels, table.probabilities))
            cold = table.train_impressions == 0
            assert model["slices"]["item_frequency"]["cold"]["candidates"] == cold.sum()
        for value in model["metrics"]["auc"]["values"]:
            assert np.abs(np.array(found) - value).min() < 1e-9
        assert model["metrics"]["auc"]["mean"] == pytest.approx(np.mean(model["metrics"]["auc"]["values"]))


def test_report_is_complete(compared, finished_run):
    report = compared.report
    test = finished_run.summary["ingestion"]["splits"]["test"]
    assert report["data"]["test"]["candidates"] == test["impressions"]
    assert report["data"]["test"]["positives"] == test["positives"]
    assert (report["seeds"], report["reference"]) == ([42, 43], "dmf")
    gaucs = [model["metrics"]["gauc"]["mean"] for model in report["models"]]
    assert gaucs == sorted(gaucs, reverse=True)
    by_label = {model["label"]: model for model in report["models"]}
    dmf, din, text = (by_label[label] for label in ("dmf", "din", "dmf@text"))
    assert [sorted(model["modalities"]) for model in (dmf, din, text)] == [["image", "text"], [], ["text"]]
    assert dmf["difference"] is None and dmf["slice_differences"] is None
    for model in (din, text):
        for name, value in model["difference"].items():
            ours, theirs = (entry["metrics"][name]["values"] for entry in (model, dmf))
            assert value["by_seed"] == pytest.approx(np.subtract(ours, theirs).tolist())
            assert value["low"] <= value["mean"] <= value["high"]
    # The shared width, and what only DMF has.
    assert (dmf["params"]["id_dim"], din["params"]["id_dim"]) == (8, 8)
    assert dmf["parameters"]["trainable"] == dmf["parameters"]["embeddings"] + dmf["parameters"]["rest"]
    assert dmf["parameters"]["embeddings"] == din["parameters"]["embeddings"]
    assert dmf["parameters"]["rest"] > text["parameters"]["rest"]
    assert all(model["rank_ms"]["median"] > 0 for model in report["models"])
    assert all(model["training"]["examples_per_second"]["mean"] > 0 for model in report["models"])
    share = (dmf["metrics"]["auc"]["values"][0] - 0.5) / (report["attainable"]["auc"] - 0.5)
    assert dmf["attainable_share"]["values"][0] == pytest.approx(share)
    assert all(len(model["training"]["timed"]) == 2 for model in report["models"])
    assert report["rank"]["candidates"] == 1200
    assert 1 < report["rank"]["history"] <= 50


def test_finished_trainings_are_read_by_later_comparisons(compared, config, capfd):
    from tfx_pipeline.studies.compare.comparison import compare

    report = compare(config, ["din", "din@text", "dmf"], 1, "din").to_json()
    printed = capfd.readouterr().err
    assert printed.count("finished before") == 3
    assert "epoch" not in printed
    by_label = {model["label"]: model for model in report["models"]}
    din, same, dmf = (by_label[label] for label in ("din", "din@text", "dmf"))
    assert din["metrics"] == same["metrics"]
    assert same["difference"]["auc"]["verdict"] == "one seed"
    before = {model["label"]: model for model in compared.report["models"]}
    assert dmf["metrics"]["auc"]["values"] == before["dmf"]["metrics"]["auc"]["values"][:1]
    assert dmf["metrics"]["auc"]["std"] is None
