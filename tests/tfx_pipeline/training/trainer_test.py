"""Devices, precision, and a training that is killed and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from tests.tfx_pipeline.training.killed import KILLED
from tfx_pipeline.config.model import Model
from tfx_pipeline.config.schema import Training
from tfx_pipeline.training.trainer import set_precision, training_strategy

ROOT = Path(__file__).resolve().parents[3]

# Two devices of a CPU stand for two GPUs; the same training on one device is the reference.
MIRRORED = """
import json, pathlib, sys
import numpy as np
import tensorflow as tf

cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras

from tests.dmf_keras.models.auxiliary_losses_test import CONFIG, Noting
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model
from tfx_pipeline.config.schema import Training
from tfx_pipeline.training import trainer


def noting():
    keras.utils.set_random_seed(0)
    return Noting(SCHEMA, CONFIG)


def penalised():
    return small_model({"embedding_l2": 0.01}, name="mean_pooling")


def batches(sizes, seed, weight):
    def generate():
        for step, size in enumerate(sizes):
            x = requests(size, 3 + step % 2, 2 + step % 3, seed=seed + step)
            y = (x["candidate_index"] % 2).astype(np.float32)
            # Devices whose candidates weigh differently, which the mean of their means would not be right for.
            yield x, y, np.where(np.arange(len(y)) < 4, weight, 1)[:, None].astype(np.float32) * np.ones_like(y)

    spec = tf.nest.map_structure(lambda a: tf.TensorSpec([None] * a.ndim, a.dtype), next(generate()))
    dataset = tf.data.Dataset.from_generator(generate, output_signature=spec)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(sizes)))


def train(name, sizes, build):
    weight = 1 if build is noting else 9
    out = pathlib.Path(sys.argv[1], name)
    training = Training(batch_size=32, epochs=2, learning_rate=0.01, average_weights=build is noting,
                        row_updates=build is penalised)
    model, result = trainer.train(
        build, batches(sizes, 0, weight), batches([32, 32], 50, weight), training,
        train_requests=sum(sizes), eval_requests=64, state_dir=out / "state", tensorboard_dir=out / "tensorboard",
    )
    finite = all(np.isfinite(weight.numpy()).all() for weight in model.weights)
    replicas = model.distribute_strategy.num_replicas_in_sync
    return {"history": result.history, "finite": finite, "replicas": replicas}


# A process each: two models in one would share the keys of TensorFlow's collectives.
build, last = (noting, []) if sys.argv[2] == "auxiliary losses" else (penalised, [8])
report = {"one": train("one", [32, 32, *last], build)}
devices = tf.config.list_logical_devices("CPU")
trainer.training_strategy = lambda: tf.distribute.MirroredStrategy(devices)
report["two"] = train("two", [32, 32, *last], build)
if build is penalised:
    # The last batch has a request for one of the devices only, the first cannot be halved.
    report["uneven"] = train("uneven", [31, 32, 1], build)
pathlib.Path(sys.argv[1], "report.json").write_text(json.dumps(report))
"""

RUN_FN = """
import json, sys
from types import SimpleNamespace
from tfx_pipeline.training.run_fn import run_fn

run_fn(SimpleNamespace(**json.load(open(sys.argv[1]))))
"""


@pytest.fixture
def gpus(monkeypatch):
    """gpus(n): TensorFlow says that it sees n GPUs."""

    def see(count: int) -> None:
        devices = [tf.config.LogicalDevice(f"/device:GPU:{number}", "GPU") for number in range(count)]
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices if kind == "GPU" else [])

    yield see
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.mark.parametrize(("count", "replicas"), [(0, 1), (1, 1), (2, 2), (4, 4)])
def test_several_gpus_are_mirrored_and_one_needs_no_strategy(gpus, count, replicas):
    gpus(count)
    strategy = training_strategy()
    assert strategy.num_replicas_in_sync == replicas
    assert isinstance(strategy, tf.distribute.MirroredStrategy) == (count > 1)
    if count > 1:
        assert [device.rpartition("device:")[2] for device in strategy.extended.worker_devices] == [
            f"GPU:{number}" for number in range(count)
        ]


@pytest.mark.parametrize(
    ("count", "wish", "policy"),
    [(0, "auto", "float32"), (1, "auto", "mixed_float16"), (2, "auto", "mixed_float16"), (1, "never", "float32")],
)
def test_precision_is_mixed_on_gpus_only_and_only_if_wanted(gpus, count, wish, policy):
    gpus(count)
    # Whatever an earlier training in this process had set.
    keras.mixed_precision.set_dtype_policy("float64")
    assert set_precision(Training(mixed_precision=wish)) == policy
    assert keras.mixed_precision.dtype_policy().name == policy


def assert_alike(one: dict[str, float], other: dict[str, float], loss: float) -> None:
    """Two epochs alike but for rounding: losses to `loss`; AUCs count pairs in bins, and a score may change its bin."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value == pytest.approx(other[name], abs=2e-3 if name.endswith("auc") else loss), name


def start(program: str, *arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], cwd=ROOT, text=True, **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["penalised", "auxiliary losses"])
def test_two_devices_train_the_model_that_one_would(kind, tmp_path):
    with start(MIRRORED, tmp_path, kind, stderr=subprocess.PIPE) as process:
        _, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, errors[-3000:]
    report = json.loads((tmp_path / "report.json").read_text())
    uneven = {"uneven": 2} if kind == "penalised" else {}
    assert {name: run["replicas"] for name, run in report.items()} == {"one": 1, "two": 2, **uneven}
    assert all(run["finite"] for run in report.values())
    assert len(report["two"]["history"]) == 2
    for one, two in zip(report["one"]["history"], report["two"]["history"], strict=True):
        assert_alike(two, one, loss=1e-4)
    if kind == "auxiliary losses":
        assert {"loss/hinge", "loss/keys"} < set(report["two"]["history"][0])
    assert report["one"]["history"][1]["loss"] < report["one"]["history"][0]["loss"]


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was_and_completes(tiny_world, tmp_path):
    training = Training(batch_size=2, epochs=3, patience=3, seed=5).model_dump_json()
    arguments = tmp_path / "arguments.json"
    # What goes on hangs on no model, and this one is soon trained and exported.
    model = Model(name="mean_pooling", params={"id_dim": 8, "hidden_units": [16]}).model_dump_json()
    options = {"training": training, "model": model, "explain": False}
    arguments.write_text(json.dumps(vars(tiny_world.fn_args(tmp_path, **options))))

    with start(KILLED + RUN_FN, arguments, stderr=subprocess.PIPE) as process:
        _, printed = process.communicate(timeout=1200)
    assert process.returncode == -signal.SIGKILL, printed[-3000:]
    assert list(tmp_path.glob("state/*/backup"))
    (state,) = tmp_path.glob("state/*")
    (first,) = json.loads((state / "best_epoch.json").read_text())
    assert not (tmp_path / "Format-Serving").exists()

    with start(RUN_FN, arguments, stderr=subprocess.PIPE) as process:
        _, printed = process.communicate(timeout=1200)
    assert process.returncode == 0, printed[-3000:]
    assert [number for number in (1, 2, 3) if f"epoch {number}/3: " in printed] == [2, 3]
    result = json.loads((tmp_path / "run" / "training.json").read_text())
    assert len(result["history"]) == 3
    assert result["history"][0] == first
    assert result["history"][2]["loss"] < first["loss"]
    assert not os.listdir(tmp_path / "state")

    from serving.export.servable_check import check_servable

    problems, _ = check_servable(tmp_path / "Format-Serving", 1e-5)
    assert problems == []
