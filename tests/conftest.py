"""What every test shares: a quiet, CPU-only, seeded process, and the way to the real data sets."""

from __future__ import annotations

import fcntl
import gc
import os
import pickle
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import costs

# Before anything imports TensorFlow; a value that is already set wins, as in `CUDA_VISIBLE_DEVICES=0 pytest -m gpu`.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# As the command does, for TensorFlow Recommenders.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

# A shell starts what runs in the background with SIGINT ignored, and tests of Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no error: neither a slow example nor slow drawing fails a property.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

# Imports and graphs make many small objects that stay: to look for garbage among them that often finds none.
gc.set_threshold(50_000, 20, 20)

SHARED_DATA = Path(__file__).resolve().parents[1] / "../shared/data"
SEED = 20250


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--record-costs`, with which a run of all tests says what each file costs."""
    parser.addoption("--record-costs", action="store_true", help="write tests/costs.json anew, see tests/costs.py")


def pytest_configure(config: pytest.Config) -> None:
    """Record where the reports of all workers come together."""
    if config.getoption("--record-costs") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(costs.Recorder())


@pytest.hookimpl(optionalhook=True)  # there is no such hook with `-p no:xdist`
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> costs.Scheduling | None:
    """`--dist loadfile` as tests/costs.py has it."""
    return costs.Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m fast`, do not even import the files that have no fast test, and what they import."""
    if config.option.markexpr != "fast" or not collection_path.name.endswith("_test.py"):
        return None
    return None if costs.is_quick(collection_path.relative_to(config.rootpath).as_posix()) else True


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is fast; put what takes longest first for workers; skip `gpu` where no GPU is visible."""
    for item in items:
        if costs.is_fast(item):
            item.add_marker("fast")
    if hasattr(config, "workerinput"):
        items[:] = costs.longest_first(items)
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_tests and not _gpu_visible():
        for item in gpu_tests:
            item.add_marker(
                pytest.mark.skip(reason="no GPU is visible; run with CUDA_VISIBLE_DEVICES=0 on a machine with one")
            )


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Import each file of tests from the same random state: layers that a module makes have the same weights always."""
    if isinstance(collector, pytest.Module):
        random.seed(SEED)  # of which Keras draws the seeds of initialisers


def pytest_collection_finish() -> None:
    """Have the garbage collector look at what tests make only: what was imported, half a million objects, stays."""
    gc.collect()
    gc.freeze()


def _gpu_visible() -> bool:
    if os.environ["CUDA_VISIBLE_DEVICES"] in ("", "-1"):
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Start each test from the same random state; libraries that no test has imported yet are left alone."""
    random.seed(SEED)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(SEED)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(SEED)


@pytest.fixture(scope="session")
def once_per_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], Any]], Any]:
    """Returns once_per_run(name, make): what `make(folder)` gave to the worker that came first.

    For what takes long to make. The others read the same files, so no test may write into them; the value is pickled.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # that of a worker lies within that of the run

    def get(name: str, make: Callable[[Path], Any]) -> Any:
        folder, value = root / name, root / f"{name}.pickle"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not value.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that died
                folder.mkdir()
                value.write_bytes(pickle.dumps(make(folder)))
        return pickle.loads(value.read_bytes())

    return get


@pytest.fixture(scope="session")
def small_models(once_per_run: Callable[[str, Callable[[Path], Any]], Any]) -> Path:
    """SavedModels 1 to 4 of tests/serving/client/small_saved_model.py, each in a sub-folder."""
    from tests.serving.client.servers import write_models

    return once_per_run("small_models", lambda folder: write_models(folder, 4))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Returns shared_data(name): the folder of one real data set, such as "ml1m"; skips the test where it is absent."""

    def find(name: str) -> Path:
        folder = SHARED_DATA / name
        if not folder.is_dir():
            pytest.skip(f"the data set {name} is not on this machine ({folder} is absent)")
        return folder.resolve()

    return find
