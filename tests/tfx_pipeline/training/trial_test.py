"""One training of one model: its key, and that it is the training of the pipeline."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.models import MeanPoolingConfig, registry
from dmf_keras.models.registry import uses_content
from tests.tfx_pipeline.training.killed import KILLED
from tfx_pipeline.config.model import Model
from tfx_pipeline.config.schema import Training
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.candidate_table import score_rows
from tfx_pipeline.training.trial import Trial, forget_state, release_memory, train_trial

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def trial(tiny_world) -> Trial:
    """What `run_fn` trains on the tiny world, which is the model of the fixture `trained`."""
    model = Model.model_validate_json(tiny_world.custom_config["model"])
    training = Training.model_validate_json(tiny_world.custom_config["training"])
    # The trial's own seed counts, not that of the section.
    return Trial(model.name, model.params, training.seed, training.model_copy(update={"seed": 99}))


def test_is_the_training_of_the_pipeline(trial, tiny_data, trained, tmp_path):
    import keras

    ours = train_trial(trial, tiny_data, tmp_path, "one of one")
    theirs = keras.models.load_model(trained / "run" / "model.keras")
    for one, other in zip(ours.model.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other), err_msg=one.path)
    written = json.loads((trained / "run" / "training.json").read_text())
    assert ours.result.history == written["history"]
    assert ours.result.best_epoch == written["best_epoch"]
    assert ours.result.requests_per_second > 0
    assert ours.seconds > 0
    assert (tmp_path / "state").is_dir()
    forget_state(tmp_path)
    assert not (tmp_path / "state").exists()


def test_is_given_its_modalities_alone(trial, tiny_data, tmp_path):
    only_text = dataclasses.replace(trial, modalities=("text",), training=Training(epochs=1, batch_size=64))
    assert (trial.label, only_text.label) == ("dmf", "dmf@text")
    trained = train_trial(only_text, tiny_data, tmp_path, "")
    assert set(trained.model.content) == {"text"}
    assert tiny_data.training_data.content.modalities.keys() == {"text", "image"}


def test_key_is_the_same_for_the_same_training_only(trial, tiny_data):
    key = trial.key(tiny_data)
    assert len(key) == 16
    # A default that is spelled out, and the seed of the section, are no difference.
    assert dataclasses.replace(trial, params={**trial.params, "alpha": 0.5}).key(tiny_data) == key
    assert dataclasses.replace(trial, training=trial.training.model_copy(update={"seed": 3})).key(tiny_data) == key
    others = [
        dataclasses.replace(trial, params={**trial.params, "alpha": 0.4}),
        dataclasses.replace(trial, params={}, model="dmf_enriched"),
        dataclasses.replace(trial, seed=6),
        dataclasses.replace(trial, modalities=("text",)),
        dataclasses.replace(trial, modalities=("image",)),
        dataclasses.replace(trial, training=trial.training.model_copy(update={"patience": 3})),
    ]
    keys = [other.key(tiny_data) for other in others] + [trial.key(dataclasses.replace(tiny_data, digest="other"))]
    assert len({key, *keys}) == 8


@pytest.mark.parametrize("library", ["keras", "numpy", "tensorflow"])
def test_key_knows_the_version_of_what_computes(trial, tiny_data, monkeypatch, library):
    key = trial.key(tiny_data)
    monkeypatch.setattr(import_module(library), "__version__", "0")
    assert trial.key(tiny_data) != key


def test_key_knows_the_precision(trial, tiny_data, monkeypatch):
    auto, never = (
        dataclasses.replace(trial, training=Training(mixed_precision=precision)) for precision in ("auto", "never")
    )
    on_cpu = auto.key(tiny_data), never.key(tiny_data)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"])
    assert (auto.key(tiny_data) != on_cpu[0], never.key(tiny_data) == on_cpu[1]) == (True, True)


def test_key_knows_the_source_of_a_model_of_ones_own(trial, tiny_data, tmp_path, monkeypatch):
    """Of any that is compared, not of the configuration's alone."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "my_trial_model.py"
    source.write_text("from dmf_keras.models import MeanPooling\n\n\nclass Mine(MeanPooling):\n    pass\n")
    registry.register_model("mine", MeanPoolingConfig, "my_trial_model:Mine")
    mine = dataclasses.replace(trial, model="mine", params={})
    keys = mine.key(tiny_data), trial.key(tiny_data)
    source.write_text(source.read_text() + "    # changed\n")
    assert mine.key(tiny_data) != keys[0]
    assert trial.key(tiny_data) == keys[1]


def test_modalities_mean_nothing_to_a_model_without_content(trial, tiny_data):
    assert uses_content("dmf") and not uses_content("din")
    din = dataclasses.replace(trial, model="din", params={})
    assert din.key(tiny_data) == dataclasses.replace(din, modalities=("text",)).key(tiny_data)


def test_a_diverged_training_is_named(trial, tiny_data, tmp_path):
    small = {"model": "mean_pooling", "params": {"id_dim": 8, "hidden_units": [8]}}
    wild = dataclasses.replace(trial, **small, training=Training(epochs=1, batch_size=64, learning_rate=1e30))
    with pytest.raises(ModelError, match=r"mean_pooling, seed 5: training diverged.*learning_rate"):
        train_trial(wild, tiny_data, tmp_path, "")


@pytest.mark.slow
def test_trainings_one_after_the_other_do_not_grow(trial, tiny_data, tmp_path):
    """Graphs hold weights: each that outlived its training would keep a model and its optimizer in memory."""
    import gc

    from tensorflow.python.framework.func_graph import FuncGraph

    small = {"model": "mean_pooling", "params": {"id_dim": 8, "hidden_units": [8]}}
    short = dataclasses.replace(trial, **small, training=Training(epochs=1, batch_size=128))

    def graphs_after_training(number: int) -> int:
        trained = train_trial(short, tiny_data, tmp_path / str(number), "")
        score_rows(trained.model, tiny_data.training_data.transform, tiny_data.examples["eval"], tiny_data.facts)
        del trained
        release_memory()
        return sum(isinstance(thing, FuncGraph) for thing in gc.get_objects())

    assert graphs_after_training(0) >= graphs_after_training(1) == graphs_after_training(2)


PROGRAM = """
import json, sys
from pathlib import Path
from tests.tfx_pipeline.conftest import TinyWorld
from tfx_pipeline.config.schema import Evaluation, Features, Training
from tfx_pipeline.training.trial_data import read_trial_data
from tfx_pipeline.evaluation.candidate_table import score_rows
from tfx_pipeline.training.trial import Trial, train_trial

world, out = json.load(open(sys.argv[1])), Path(sys.argv[2])
data = read_trial_data(
    **{name: Path(world[name]) for name in ("examples", "transformed", "transform_graph", "content")},
    features=Features.model_validate_json(world["features"]), max_history=4, evaluation=Evaluation(), digest="tiny",
)
training = Training(batch_size=2, epochs=3, patience=3)
result = train_trial(Trial("mean_pooling", {"id_dim": 8, "hidden_units": [8]}, 5, training), data, out, "tiny").result
(out / "history.json").write_text(json.dumps(result.history))
"""


@pytest.mark.slow
def test_a_killed_trial_goes_on(tiny_world, tmp_path):
    world = tmp_path / "world.json"
    paths = {"examples": tiny_world.requests, "transformed": tiny_world.transformed}
    paths |= {"transform_graph": tiny_world.transform_graph, "content": tiny_world.content}
    values = {name: str(path) for name, path in paths.items()}
    world.write_text(json.dumps({**values, "features": tiny_world.custom_config["features"]}))

    def run(program: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, str(world), str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)

    killed = run(KILLED + PROGRAM)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert (tmp_path / "state" / "backup").exists()
    (first, *_) = json.loads((tmp_path / "state" / "best_epoch.json").read_text())

    again = run(PROGRAM)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "tiny  epoch 1/3" not in again.stderr
    assert "tiny  epoch 3/3" in again.stderr
    history = json.loads((tmp_path / "history.json").read_text())
    assert len(history) == 3
    assert history[0] == first


def test_buckets_of_ages_count_for_a_model_that_is_told_of_them(trial, tiny_data):
    def key(buckets, **changes):
        training_data = dataclasses.replace(tiny_data.training_data, age_buckets=buckets)
        return dataclasses.replace(trial, **changes).key(dataclasses.replace(tiny_data, training_data=training_data))

    assert len({key(None), key(8), key(16), key(8, without=("ages",))}) == 4
    assert key(8, without=("ages",)) == key(16, without=("ages",))
    assert key(None) == trial.key(tiny_data)
