"""Real trials on a tiny world: measured as the Evaluator measures, kept, recalled; the Tuner's entry for TFX."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfx_pipeline.config.label import Label
from tfx_pipeline.config.model import Model
from tfx_pipeline.config.schema import Evaluation, Features, Training
from tfx_pipeline.config.tuning import Tuning

LABEL = Label("mean_pooling", ())
PARAMS = {"id_dim": 4, "hidden_units": [8]}
TRAINING = Training(batch_size=64, epochs=1, seed=5)


@pytest.fixture(scope="module")
def data(tiny_world):
    from tfx_pipeline.training.trial_data import read_trial_data

    return read_trial_data(
        examples=tiny_world.requests,
        transformed=tiny_world.transformed,
        transform_graph=tiny_world.transform_graph,
        content=tiny_world.content,
        features=Features.model_validate_json(tiny_world.custom_config["features"]),
        # The transformed histories of the tiny world are not cut, and have up to 5 items.
        max_history=5,
        evaluation=Evaluation(),
        digest="tiny",
    )


def _searched(data, folder: Path, space, trials: int, label=LABEL, **settings):
    from tfx_pipeline.training.search.model_search import model_search

    search = model_search(
        Tuning.model_validate({"space": space, **settings}),
        label,
        PARAMS,
        TRAINING,
        data,
        trials_folder=folder / "trials",
        directory=folder / "search",
        trials=trials,
    )
    search.search()
    return search


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    """A folder, and a search of two trials whose second has a learning rate that diverges."""
    folder = tmp_path_factory.mktemp("searched")
    space = {"training.learning_rate": {"choice": [0.01, 1e30]}}
    return folder, _searched(data, folder, space, trials=2)


def test_objective_is_what_the_library_computes_on_the_eval_split(data, searched, tmp_path):
    """Trained again, and scored on the transformed eval examples instead of the raw ones."""
    import numpy as np

    from dmf_keras.metrics import grouped_auc
    from dmf_keras.models.inputs import USER_INDEX
    from tfx_pipeline.training.trial import Trial, train_trial
    from tfx_pipeline.transform.dataset import request_batches

    _, search = searched
    trained = train_trial(Trial("mean_pooling", PARAMS, TRAINING.seed, TRAINING), data, tmp_path, "")
    inner = data.training_data
    batches = request_batches(
        inner.files["eval"], inner.tft_output, inner.transform, 32, requests=inner.requests["eval"]
    )
    users, labels, scores = [], [], []
    for inputs, label, weight in batches:
        kept = weight.numpy().astype(bool)
        # Each of the 20 users has a row of their own.
        users.append(np.repeat(inputs[USER_INDEX].numpy(), kept.sum(axis=1)))
        labels.append(label.numpy()[kept])
        scores.append(trained.model(inputs).numpy()[kept])
    expected = grouped_auc(np.concatenate(users), np.concatenate(labels), np.concatenate(scores)).impression_weighted
    assert search.trials[0].outcome.metrics["gauc"] == pytest.approx(expected, abs=1e-6)


def test_a_diverged_trial_is_recorded_and_skipped(searched):
    _, search = searched
    diverged = [trial for trial in search.trials if not trial.outcome.completed]
    assert [trial.values for trial in diverged] == [{"training.learning_rate": 1e30}]
    assert "diverged" in diverged[0].outcome.failure
    assert len(search.ranked()) == 2


def test_finished_trials_are_recalled_failed_ones_too(data, searched):
    folder, first = searched
    before = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/outcome.json")}
    assert len(before) == 3
    again = _searched(data, folder, {"training.learning_rate": {"choice": [0.01, 1e30]}}, trials=2)
    assert all(trial.outcome.recalled for trial in again.trials)
    assert [trial.values for trial in again.trials] == [trial.values for trial in first.trials]
    assert again.best.outcome.metrics == first.best.outcome.metrics
    assert {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/outcome.json")} == before


def test_no_weights_are_left_of_finished_trials(searched):
    folder, _ = searched
    assert not list(folder.rglob("*.weights.h5"))
    assert not list(folder.rglob(".incoming-*"))


def test_tuner_fn_makes_the_search_that_tfx_runs(tiny_world, tmp_path):
    """TFX calls it with `fn_args`, runs `search` and asks for the best.

    The only values to try are allowed one by one, but not together: that trial fails, and the configuration as it is
    stays the best.
    """
    from tfx.components.trainer.fn_args_utils import FnArgs

    from tfx_pipeline.training.search.tuner_fn import tuner_fn

    space = {"params.heads": {"choice": [2]}, "params.attention_dim": {"choice": [9]}}
    tuning = Tuning.model_validate({"space": space, "trials": 1})
    sections = {
        "model": Model(name="target_attention", params=PARAMS),
        "training": TRAINING,
        "tuning": tuning,
        "evaluation": Evaluation(),
    }
    fn_args = FnArgs(
        train_files=[str(tiny_world.transformed / "Split-train" / "*")],
        transform_graph_path=str(tiny_world.transform_graph),
        working_dir=str(tmp_path / "working"),
        custom_config={name: section.model_dump_json() for name, section in sections.items()}
        | {
            "features": tiny_world.custom_config["features"],
            "trials_folder": str(tmp_path / "trials"),
            "code": "none",
            "max_history": 4,
            "content_uri": str(tiny_world.content),
            "requests_uri": str(tiny_world.requests),
        },
    )
    result = tuner_fn(fn_args)
    result.tuner.search(**result.fit_kwargs)
    as_it_is, wrong = result.tuner.trials
    assert as_it_is.outcome.completed
    assert wrong.outcome.failure == "attention_dim must be a multiple of heads (2), got 9"
    assert len(list((tmp_path / "trials").glob("*/outcome.json"))) == 1
    assert result.tuner.get_best_hyperparameters()[0].values == {}
