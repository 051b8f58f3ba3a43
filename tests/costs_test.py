"""In which order tests run, which of them are fast, and that `make test-fast` stays so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import costs

# Of one core: two of them need half, and less than twenty seconds go before the first test.
FAST_TOTAL = 120


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """recorded(path=(whole, fast)): the costs that are known."""
    monkeypatch.setattr(costs, "FILE", tmp_path / "costs.json")

    def write(**known):
        costs.FILE.write_text(json.dumps({f"tests/{name}_test.py": pair for name, pair in known.items()}))
        costs.read_costs.cache_clear()

    yield write
    costs.read_costs.cache_clear()


def collected(name: str, *marks: str, fixtures: tuple[str, ...] = ()):
    """What stands for one that was collected."""
    return SimpleNamespace(
        nodeid=f"tests/{name}", fixturenames=fixtures, get_closest_marker=lambda mark: mark if mark in marks else None
    )


def test_what_takes_longest_begins_and_files_stay_whole(recorded):
    recorded(a=(1.0, 1.0), b=(9.0, 0.0), **{"end_to_end/c": (5.0, 5.0), "end_to_end/d": (6.0, 6.0)})
    names = ["a_test.py::1", "new_test.py::1", "end_to_end/c_test.py::1", "b_test.py::1", "end_to_end/d_test.py::1"]
    items = [collected(name) for name in [*names, "a_test.py::2"]]
    ordered = [item.nodeid.removeprefix("tests/") for item in costs.longest_first(items)]
    assert ordered == ["new_test.py::1", *(names[i] for i in (2, 4, 3, 0)), "a_test.py::2"]
    # Tests of the one run stay with one worker.
    assert [costs.group_of(item.nodeid) for item in items[2:5]] == [
        "tests/end_to_end",
        "tests/b_test.py",
        "tests/end_to_end",
    ]


def test_fast_is_what_costs_little_and_needs_nothing_that_costs_much(recorded):
    recorded(quick=(30.0, costs.FAST_SECONDS), long=(30.0, costs.FAST_SECONDS + 0.1))
    assert costs.is_fast(collected("quick_test.py::one"))
    assert costs.is_fast(collected("new_test.py::one"))
    assert not costs.is_fast(collected("long_test.py::one"))
    assert not costs.is_fast(collected("quick_test.py::one", "slow"))
    assert not costs.is_fast(collected("quick_test.py::one", "e2e"))
    assert not costs.is_fast(collected("quick_test.py::one", fixtures=("trained", "once_per_run")))


def test_a_recorded_run_is_read_again(recorded):
    recorded()
    recorder = costs.Recorder()
    for name, when, seconds, marks in (
        ("quick_test.py::one", "setup", 0.25, {}),
        ("quick_test.py::one", "call", 1.0, {"parametrize": 1}),
        # What a slow test has set up, the next would have to.
        ("slow_test.py::one", "setup", 2.0, {"slow": 1}),
        ("slow_test.py::one", "call", 20.0, {"slow": 1}),
    ):
        report = SimpleNamespace(nodeid=f"tests/{name}", when=when, duration=seconds, keywords=marks)
        recorder.pytest_runtest_logreport(report)
    recorder.pytest_sessionfinish(exitstatus=1)
    assert costs.read_costs() == {}
    recorder.pytest_sessionfinish(exitstatus=0)
    costs.read_costs.cache_clear()
    assert costs.read_costs() == {"tests/quick_test.py": (1.2, 1.2), "tests/slow_test.py": (22.0, 2.0)}


def test_a_worker_that_dies_costs_one_test_and_the_run_ends(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "from tests import costs\n"
        "def pytest_xdist_make_scheduler(config, log):\n"
        "    return costs.Scheduling(config, log)\n"
    )
    for number in range(6):
        (tmp_path / f"test_{number}.py").write_text(
            "import os, signal, pytest\n"
            "@pytest.mark.parametrize('k', range(4))\n"
            "def test(k):\n"
            f"    if {number} in (3, 5) and k == 2:\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
        )
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "-q"]
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-c", os.devnull, tmp_path],
        env={**os.environ, "PYTHONPATH": str(Path(costs.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "2 failed, 22 passed" in ended.stdout, ended.stdout


def test_fast_tests_are_so_together():
    fast = sum(seconds for file, (_, seconds) in costs.read_costs().items() if costs.is_quick(file))
    assert fast < FAST_TOTAL, "lower costs.FAST_SECONDS, or mark what takes more than ten seconds as slow"
