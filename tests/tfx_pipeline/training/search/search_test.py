"""The search over a known function: the same whenever it runs, survives failures and kills, and hands TFX its best."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.tfx_pipeline.training.search.searches import Trainings, make_search, surface
from tfx_pipeline.errors import DataError, ModelError


def _searched(folder: Path, run=None, **settings):
    search = make_search(folder, run or Trainings(), **settings)
    search.search()
    return search


def test_a_search_depends_on_its_seed_alone(tmp_path):
    runs = [Trainings() for _ in range(3)]
    for number, (run, seed) in enumerate(zip(runs, (0, 0, 1), strict=True)):
        _searched(tmp_path / str(number), run, seed=seed, trials=7)
    assert runs[0].asked == runs[1].asked
    assert runs[0].asked != runs[2].asked
    assert len(runs[0].asked) == 8


def test_more_trials_begin_with_those_of_fewer(tmp_path):
    few, many = Trainings(), Trainings()
    _searched(tmp_path / "few", few, trials=6)
    _searched(tmp_path / "many", many, trials=8)
    assert many.asked[: len(few.asked)] == few.asked


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path, algorithm):
    """With one key the Bayesian search draws three values and then thinks, which takes a second a trial."""
    whole, killed, resumed = Trainings(), Trainings(), Trainings()
    settings = {"algorithm": algorithm, "trials": 5, "space": {"params.dropout": {"uniform": [0, 0.9]}}}
    _searched(tmp_path / "whole", whole, **settings)

    def until_killed(number, values, best):
        if number == 5:
            raise KeyboardInterrupt
        return killed(number, values, best)

    with pytest.raises(KeyboardInterrupt):
        _searched(tmp_path / "again", until_killed, **settings)
    _searched(tmp_path / "again", resumed, **settings)
    assert killed.asked == whole.asked[:5]
    assert resumed.asked == whole.asked


def test_half_a_file_of_keras_tuner_does_no_harm(tmp_path):
    first = _searched(tmp_path, trials=3)
    (state,) = tmp_path.rglob("oracle.json")
    state.write_text(state.read_text()[:20])
    assert _searched(tmp_path, trials=3).best == first.best


def test_trial_0_is_the_configuration_as_it_is_and_may_win(tmp_path):
    search = _searched(tmp_path, Trainings(objective=lambda values: 0.6 if not values else 0.5))
    assert search.trials[0].values == {}
    assert search.best.number == 0
    assert search.get_best_hyperparameters()[0].values == {}


@pytest.mark.slow
def test_bayesian_search_homes_in_on_the_best(tmp_path):
    """Of one key, from three random trials: the best dropout is 0.3."""
    space = {"params.dropout": {"uniform": [0, 0.9]}}
    search = _searched(tmp_path, algorithm="bayesian", trials=9, space=space)
    assert search.best.number > 3
    assert search.best.values["params.dropout"] == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("objective", ["gauc", "auc", "log_loss", "ndcg@3"])
def test_best_is_the_best_by_the_objective(tmp_path, objective):
    # The measures of `Trainings` agree on the order.
    search = _searched(tmp_path, objective=objective, trials=5)
    assert search.best.values == max(search.trials, key=lambda trial: surface(trial.values)).values
    scores = [surface(trial.values) for trial in search.ranked()]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_failed_trials_are_recorded_and_skipped(tmp_path, algorithm):
    fails = Trainings(failing=lambda values: values.get("params.id_dim") in (8, 64))
    search = _searched(tmp_path, fails, algorithm=algorithm, trials=12)
    failed = [trial for trial in search.trials if not trial.outcome.completed]
    assert len(failed) > 3, "the seed gives too few failures to show anything"
    assert len(search.trials) == 13
    assert len(search.ranked()) == 13 - len(failed)
    assert search.best.outcome.metrics["gauc"] == max(t.outcome.metrics["gauc"] for t in search.ranked())


def test_a_search_without_a_completed_trial_says_why(tmp_path):
    with pytest.raises(ModelError, match=r"none of 4 trials completed.*training diverged"):
        _searched(tmp_path, Trainings(failing=lambda values: True), trials=3)


def test_an_objective_that_is_no_number_ends_the_search(tmp_path):
    run = Trainings(objective=lambda values: float("nan"))
    with pytest.raises(DataError, match="gauc of the eval split is not a number") as refused:
        _searched(tmp_path, run)
    assert "log_loss" in str(refused.value)
    assert len(run.asked) == 1


def test_other_errors_are_not_taken_for_failed_trials(tmp_path):
    def broken(number, values, best):
        if number == 2:
            raise DataError("the file is gone")
        return Trainings()(0, values, best)

    with pytest.raises(DataError, match="the file is gone"):
        _searched(tmp_path, broken)


def test_a_small_space_is_used_up(tmp_path):
    search = _searched(tmp_path, space={"params.id_dim": {"choice": [8, 16, 32]}}, trials=10)
    assert sorted(trial.values.get("params.id_dim", 0) for trial in search.trials) == [0, 8, 16, 32]
    assert not search.out_of_time


def test_no_trial_begins_when_time_is_up(tmp_path):
    def slow(number, values, best):
        time.sleep(0.2)
        return Trainings()(0, values, best)

    search = _searched(tmp_path, slow, trials=50, seconds=0.1)
    # The configuration as it is, and one more in any case.
    assert [trial.number for trial in search.trials] == [0, 1]
    assert search.out_of_time


def test_tfx_writes_values_as_the_configuration_has_them(tmp_path):
    """By TFX's own function; its Trainer hands the file's content to `run_fn`."""
    from tfx.components.tuner import executor as tuner_executor
    from tfx.types import standard_artifacts

    space = {"params.hidden_units": {"choice": [[16], [64, 32]]}, "training.epochs": {"int": [1, 3]}}
    search = _searched(tmp_path / "search", Trainings(objective=lambda v: len(v)), space=space, trials=3)
    outputs = {}
    for key, kind in (
        ("best_hyperparameters", standard_artifacts.HyperParameters),
        ("tuner_results", standard_artifacts.TunerResults),
    ):
        artifact = kind()
        artifact.uri = str(tmp_path / key)
        Path(artifact.uri).mkdir()
        outputs[key] = [artifact]
    tuner_executor.write_best_hyperparameters(search, outputs)
    (written,) = (tmp_path / "best_hyperparameters").iterdir()
    values = json.loads(written.read_text())["values"]
    assert values == search.best.values
    assert isinstance(values["params.hidden_units"], list)
    (results,) = (tmp_path / "tuner_results").iterdir()
    assert len(json.loads(results.read_text())) == 3
