"""What the files of tests cost, as a recorded run had it: the order of `make test`, the choice of `make test-fast`.

`costs.json` has two numbers of seconds per file: all of it, and what is left of it without the tests marked as slow. It
is a hint and may be old: a file that it does not know counts as quick and begins first.
`make test PYTEST_ARGS=--record-costs` writes it anew.
"""

from __future__ import annotations

import collections
import functools
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

FILE = Path(__file__).with_name("costs.json")
FAST_SECONDS = 2.25
"""The most that a file may cost in `make test-fast`."""

_SHARED_RUN = "tests/end_to_end"
"""Tests of one run that they go on with, one after the other: a worker of its own."""
_AS_IT_IS_LEFT = f"{_SHARED_RUN}/report_test.py"
"""Tests of what that run left: they come before those that go on with it."""


@functools.cache
def read_costs() -> dict[str, tuple[float, float]]:
    """Seconds of each file by its path from the root: all of it, and without what `is_fast` leaves out."""
    return {path: (whole, fast) for path, (whole, fast) in json.loads(FILE.read_text(encoding="utf-8")).items()}


def file_of(nodeid: str) -> str:
    """Path of the test's file from the root."""
    return nodeid.partition("::")[0]


def group_of(nodeid: str) -> str:
    """What one worker runs as a whole: a file, or the folder whose files go on with one run."""
    file = file_of(nodeid)
    return _SHARED_RUN if file.startswith(f"{_SHARED_RUN}/") else file


def is_quick(file: str) -> bool:
    """Whether the file is in `make test-fast`, as one that is not known yet is."""
    return read_costs().get(file, (0.0, 0.0))[1] <= FAST_SECONDS


def is_fast(item: pytest.Item) -> bool:
    """Whether the test is: in a quick file, not marked as slow, and without need of what takes long to make."""
    slow = item.get_closest_marker("slow") or item.get_closest_marker("e2e")
    return is_quick(file_of(item.nodeid)) and not slow and "once_per_run" not in item.fixturenames


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The same tests, those of one group together, groups that cost most first, what is not known yet before them."""
    known, seconds = read_costs(), collections.Counter[str]()
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(group_of(item.nodeid), []).append(item)
    for group, members in groups.items():
        files = {file_of(item.nodeid) for item in members}
        seconds[group] = sum(known[file][0] if file in known else float("inf") for file in files)
    for members in groups.values():
        members.sort(key=lambda item: file_of(item.nodeid) != _AS_IT_IS_LEFT)
    return [item for group in sorted(groups, key=lambda group: -seconds[group]) for item in groups[group]]


class Scheduling(LoadFileScheduling):
    """`--dist loadfile` by groups."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def remove_node(self, node: WorkerController) -> str | None:
        """Give what a worker has left to the others; returns the test that it died of, which nobody tries again.

        pytest-xdist 3.8 hands on all that the worker ever had. Who is given a file that is done has nothing to report,
        is given nothing more, and the run waits for ever.
        """
        work = self.assigned_work[node]
        died_of = next((test for tests in work.values() for test, done in tests.items() if not done), None)
        if died_of is not None:
            work[self._split_scope(died_of)][died_of] = True
        self.assigned_work[node] = {group: tests for group, tests in work.items() if not all(tests.values())}
        super().remove_node(node)
        return died_of

    def _reschedule(self, node: WorkerController) -> None:
        """Give a worker files until it has three tests; it does not begin one without the next or its dismissal.

        pytest-xdist 3.8 gives one file, which may have one test left, and also asks workers that have not collected.
        """
        if node.shutting_down or node not in self.registered_collections:
            return
        while self.workqueue and self._pending_of(self.assigned_work[node]) <= 2:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()


class Recorder:
    """Writes `costs.json` at the end of a run of all tests."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Adds a part of a test; what it sets up would be set up by the next test if this one were left out."""
        seconds = self._seconds[file_of(report.nodeid)]
        seconds[0] += report.duration
        if report.when == "setup" or not report.keywords.keys() & {"slow", "e2e"}:
            seconds[1] += report.duration

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Writes the file, unless tests have failed."""
        if exitstatus == 0:
            rounded = {file: [round(part, 1) for part in parts] for file, parts in sorted(self._seconds.items())}
            lines = ",\n".join(f"  {json.dumps(file)}: {json.dumps(parts)}" for file, parts in rounded.items())
            FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
