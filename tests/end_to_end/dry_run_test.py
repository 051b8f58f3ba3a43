"""`dmf run --dry-run`: what it says of every step is what a run then does, and the output folder stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfx_pipeline.cli import exit_status, main
from tfx_pipeline.config import load_config

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of all that lies in a folder."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.fixture
def forecast(finished_run, tmp_path_factory):
    """forecast(*overrides, **options): state and reason of each step."""
    from tfx_pipeline.runners import forecast

    def _forecast(*overrides: str, **options) -> dict[str, tuple[str, str]]:
        config = load_config(finished_run.config_file, overrides)
        before = _files(config.output)
        found = forecast.forecast(config, tmp_path_factory.mktemp("scratch"), **options)
        assert _files(config.output) == before
        return {one.node: (one.state, one.reason) for one in found}

    return _forecast


@pytest.mark.parametrize("overrides", [(), ("evaluation.thresholds.auc.min=0.998",)], ids=["unchanged", "threshold"])
def test_a_run_does_what_was_forecast(forecast, finished_run, overrides):
    from tfx_pipeline.runners.run import run

    found = forecast(*overrides)
    summary = run(load_config(finished_run.config_file, overrides))
    said = {"would run": "ran", "cached": "cached"}
    assert {node: said[state] for node, (state, _) in found.items()} == {
        step.node: step.state for step in summary.steps
    }
    # Of a step behind one that runs anew the run alone knows which artifact it was.
    reasons = {step.node: step.reason for step in summary.steps}
    for node, (_, reason) in found.items():
        assert reason == reasons[node] or (reason.startswith("reads what ") and "input" in reasons[node])


def test_steps_behind_one_that_would_run_would_run_too(forecast):
    found = forecast("training.epochs=7")
    would = {node for node, (state, _) in found.items() if state == "would run"}
    assert would == {"RankingTrainer", "LatestBlessedModel", "ServingGate", "Evaluator", "Pusher"}
    # Another file may have trained another model in this output since.
    changed = found["RankingTrainer"][1]
    assert changed.startswith("changed: ") and changed.endswith("custom_config.training")
    assert found["ServingGate"][1] == "reads what RankingTrainer would make anew"


def test_steps_that_are_not_to_come_from_the_cache_would_run(forecast):
    assert forecast(uncached=["ItemContentGen"])["ItemContentGen"][0] == "would run"
    everything = forecast(rebuild_metadata=True)
    assert {state for state, _ in everything.values()} == {"would run"}
    assert everything["BehaviorLogExampleGen"][1] == "first run"


def test_outputs_that_have_changed_stop_a_dry_run_too(forecast, finished_run):
    from tfx_pipeline.errors import DataError

    [shard] = Path(finished_run.summary["artifacts"]["transformed_examples"], "Split-train").glob("*.gz")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:500])
    try:
        with pytest.raises(DataError, match=r"Transform: .* has 500 bytes instead of"):
            forecast()
    finally:
        shard.write_bytes(whole)


def test_without_an_output_folder_all_would_run_and_none_is_made(finished_run, tmp_path, capfd):
    output = tmp_path / "out"
    command = ["run", "--config", str(finished_run.config_file), "--set", f"output={output}", "--dry-run"]
    assert main(command) == exit_status.OK
    printed = capfd.readouterr().out
    assert "first rows of the log" in printed and "data: ok in" in printed
    assert printed.count("would run") == 11 and "cached" not in printed
    assert f"nothing was run or written; the output would lie in {output}" in printed
    assert not output.exists()
