"""`dmf tune` on the examples of a finished run, and a pipeline that searches before it trains."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfx_pipeline.cli import main
from tfx_pipeline.files.manifest import manifest_of

ROOT = Path(__file__).resolve().parents[2]
SPACE = "{params.id_dim: {choice: [4, 6, 8, 10]}, training.learning_rate: {log: [0.001, 0.01]}}"
SETTINGS = (
    f"tuning.space={SPACE}",
    "model.name=mean_pooling",
    "model.params={id_dim: 8, hidden_units: [16]}",
    "training.epochs=1",
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def _settings() -> list[str]:
    return [word for setting in SETTINGS for word in ("--set", setting)]


def _tune(config_file: Path, *arguments: str) -> None:
    assert main(["tune", "--config", str(config_file), *_settings(), *arguments]) == 0


@contextlib.contextmanager
def _without_test_split(summary):
    """A search that opened a file of the test split would fail: there is none while it lasts."""
    examples = summary["artifacts"]["examples"]
    # The manifest would miss it.
    away = [Path(examples, "Split-test"), Path(manifest_of(examples))]
    for path in away:
        path.rename(path.with_name(f"hidden-{path.name}"))
    try:
        yield
    finally:
        for path in away:
            path.with_name(f"hidden-{path.name}").rename(path)


def _outcomes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/outcome.json")}


def _kill_in_first_trial(config_file: Path, console: Path) -> None:
    command = [sys.executable, "-m", "tfx_pipeline.cli", "tune", "--config", str(config_file), *_settings()]
    with console.open("w") as stream:
        process = subprocess.Popen(command, stderr=stream, start_new_session=True, cwd=ROOT)
        deadline = time.monotonic() + 1200
        while "[0/20] gauc" not in console.read_text() and time.monotonic() < deadline:
            assert process.poll() is None, console.read_text()
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_tune_searches_on_cached_examples_and_goes_on_after_a_kill(finished_run, tmp_path, capfd):
    from tfx_pipeline.config import load_config

    output = finished_run.config_file.parent / "out"
    folder = output / "tune"
    examples = sorted((output / "artifacts/BehaviorLogExampleGen/examples").iterdir())
    with _without_test_split(finished_run.summary):
        _kill_in_first_trial(finished_run.config_file, tmp_path / "console.txt")
        before = _outcomes(folder)
        assert before
        _tune(finished_run.config_file, "--trials", "1", "--models", "mean_pooling,target_attention")
    printed = capfd.readouterr().err
    after = _outcomes(folder)
    assert len(after) == 4
    assert {path: after[path] for path in before} == before
    assert "mean_pooling [0/1] gauc" in printed
    assert printed.count("recalled") == len(before)
    assert "target_attention: 2 trials by gauc of eval" in printed
    assert sorted((output / "artifacts/BehaviorLogExampleGen/examples").iterdir()) == examples

    report = json.loads((folder / "mean_pooling/tune.json").read_text())
    best = report["trials"][report["best"]]
    assert best["metrics"]["gauc"] == max(trial["metrics"]["gauc"] for trial in report["trials"])
    config = load_config(folder / "mean_pooling/best.yaml")
    assert config.model.params == {"id_dim": best["values"].get("params.id_dim", 8), "hidden_units": [16]}
    assert config.output == output
    assert (folder / "comparison.yaml").exists()


def test_outcomes_by_other_metrics_are_not_recalled(finished_run, monkeypatch, capfd):
    from tfx_pipeline.runners import cache_keys

    def recalled() -> int:
        _tune(finished_run.config_file, "--trials", "1")
        return capfd.readouterr().err.count(", recalled")

    recalled()
    assert recalled() == 2
    # As if another file had computed them.
    monkeypatch.setitem(cache_keys._CODE, "outcome", cache_keys.Entry(("tfx_pipeline.evaluation.slices",)))
    assert recalled() == 0


def test_pipeline_with_a_tuner_trains_with_the_best_values(finished_run):
    from tfx_pipeline.config import load_config
    from tfx_pipeline.pages.run.finished_run import read_run
    from tfx_pipeline.runners.local import run_pipeline
    from tfx_pipeline.runners.run import run
    from tfx_pipeline.trained.inspection import inspect_model
    from tfx_pipeline.trained.version import Version

    settings = [*SETTINGS, "tuning.trials=2", "tuning.run_in_pipeline=true"]
    # As it is, the model can learn nothing, not even how rare clicks are: a search cannot but find something better. By
    # its order of candidates, which a few steps hardly change, that would be chance.
    settings += ["training.learning_rate=1.0e-9", "tuning.objective=log_loss"]
    # A calibrated model has other probabilities than its trial.
    settings.append("serving.calibration=none")
    summary = run(load_config(finished_run.config_file, settings)).to_json()
    nodes = [step["node"] for step in summary["steps"]]
    assert nodes.index("Transform") < nodes.index("RankingTuner") < nodes.index("RankingTrainer")
    states = {step["node"]: step["state"] for step in summary["steps"]}
    assert (states["Transform"], states["RankingTuner"], states["RankingTrainer"]) == ("cached", "ran", "ran")
    tuning = summary["tuning"]
    best = tuning["trials"][tuning["best"]]
    assert tuning["best"] > 0
    assert len(tuning["trials"]) == 3

    made = inspect_model(Version(Path(summary["model_path"]))).metadata
    assert made["params"]["id_dim"] == best["values"]["params.id_dim"]
    assert made["config"]["training"]["learning_rate"] == best["values"]["training.learning_rate"]
    shown = read_run(finished_run.config_file.parent / "out")
    assert shown.section("training")["learning_rate"] == best["values"]["training.learning_rate"]
    assert json.loads(shown.settings["training"])["learning_rate"] == 1e-9
    # Trained anew with the same seed on the same examples, the model is that of the trial.
    overall = summary["metrics"]["eval"]["overall"]
    for metric, digits in (("log_loss", 1e-5), ("auc", 1e-4), ("gauc", 1e-3)):
        # Items without an ID row tie but for rounding, which weighs most within a user.
        assert overall[metric] == pytest.approx(best["metrics"][metric], abs=digits)

    again = run(load_config(finished_run.config_file, settings)).to_json()
    states = {step["node"]: step["state"] for step in again["steps"]}
    assert (states["RankingTuner"], states["RankingTrainer"], states["Evaluator"]) == ("cached",) * 3
    assert again["tuning"] == tuning

    before = _outcomes(finished_run.config_file.parent / "out" / "tune")
    *_, step = run_pipeline(load_config(finished_run.config_file, [*settings, "tuning.trials=3"]), until="RankingTuner")
    assert (step.node, step.reason) == ("RankingTuner", "changed: custom_config.tuning")
    after = _outcomes(finished_run.config_file.parent / "out" / "tune")
    assert len(after) == len(before) + 1
    assert {path: after[path] for path in before} == before
