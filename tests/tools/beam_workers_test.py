"""Python workers that die: what they had is done by others, and each element once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.transforms.environments import ExternalEnvironment

from tools.beam_cluster import WORKERS
from tools.beam_job import ATTEMPTS

# Of Beam's own threads, which read on when their server stops.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Port and folder of a pool of two workers. Workers can load this module."""
    folder = tmp_path_factory.mktemp("pool")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tools.beam_workers", "--port", str(port), "--state", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        while not (folder / WORKERS).exists():
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield port, folder
    finally:
        process.terminate()
        process.wait(timeout=120)


def _pipeline(pool: tuple[int, Path]) -> beam.Pipeline:
    return beam.Pipeline(fn_runner.FnApiRunner(default_environment=ExternalEnvironment(f"localhost:{pool[0]}")))


def _dying(deaths: Path, times: int) -> beam.PTransform:
    """Hands on what it gets, but that the worker dies in the middle of it, that many times."""

    def process(number: int, deaths: str = str(deaths), times: int = times) -> Iterable[int]:
        import os
        import pathlib
        import signal

        before = len(list(pathlib.Path(deaths).iterdir()))
        if number == 50 and before < times:
            (pathlib.Path(deaths) / str(before)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [number]

    return beam.FlatMap(process)


def _soon(holds: Callable[[], bool]) -> bool:
    ends = time.monotonic() + 60
    while not (held := holds()) and time.monotonic() < ends:
        time.sleep(0.1)
    return held


def _write(element: tuple[int, Iterable[int]], folder: str) -> None:
    import pathlib

    key, numbers = element
    (pathlib.Path(folder) / str(key)).write_text(str(sorted(numbers)))


def test_what_a_dead_worker_had_is_done_once_by_another(pool: tuple[int, Path], tmp_path: Path) -> None:
    deaths, results = tmp_path / "deaths", tmp_path / "results"
    deaths.mkdir()
    results.mkdir()
    with _pipeline(pool) as pipeline:
        numbers = pipeline | beam.Create(range(100), reshuffle=False) | _dying(deaths, 1)
        total = beam.pvalue.AsSingleton(numbers | beam.CombineGlobally(sum))
        grouped = numbers | beam.Map(lambda number, total: (number % 3, number + total), total) | beam.GroupByKey()
        _ = grouped | beam.Map(_write, str(results))
    assert len(list(deaths.iterdir())) == 1
    for key in range(3):
        assert (results / str(key)).read_text() == str([number + 4950 for number in range(100) if number % 3 == key])
    assert _soon(lambda: json.loads((pool[1] / WORKERS).read_text()) == {}), "workers outlive their job"


def test_what_kills_every_worker_fails_the_job(pool: tuple[int, Path], tmp_path: Path) -> None:
    pipeline = _pipeline(pool)
    _ = pipeline | beam.Create([50]) | _dying(tmp_path, ATTEMPTS)
    with pytest.raises(RuntimeError, match=f"{ATTEMPTS} workers ended with it, the last with -{signal.SIGKILL:d}"):
        pipeline.run().wait_until_finish()
    assert len(os.listdir(tmp_path)) == ATTEMPTS


def test_an_error_of_the_step_is_told_and_not_tried_again(pool: tuple[int, Path], tmp_path: Path) -> None:
    def refuse(_: int, folder: str = str(tmp_path)) -> None:
        import pathlib

        tries = pathlib.Path(folder)
        (tries / str(len(list(tries.iterdir())))).touch()
        raise ValueError("no such thing")

    pipeline = _pipeline(pool)
    _ = pipeline | beam.Create([1]) | beam.Map(refuse)
    with pytest.raises(RuntimeError, match="no such thing"):
        pipeline.run().wait_until_finish()
    assert len(os.listdir(tmp_path)) == 1
