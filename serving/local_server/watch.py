"""Watches a base path and keeps the loaded versions equal to what lies there.

As in TensorFlow Serving, a new version is loaded and warmed before an old one is unloaded, and one that cannot be
loaded changes nothing for those that are. Unlike there, a failed version is tried again once its files have changed
and come to rest, so that a copy which was under way needs no restart. One that is loaded is not looked at again: a
change needs a new number.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from serving.local_server.batching import BatchingOptions
from serving.local_server.errors import StatusError
from serving.local_server.loading import load_version
from serving.local_server.policy import LARGEST_VERSION, VersionPolicy
from serving.local_server.versions import LoadedVersion, ModelVersions, State

Fingerprint = tuple[tuple[str, int, int], ...]
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class VersionEvent:
    """Something that the one who runs the server wants to know; `problem` tells bad news from good."""

    message: str
    problem: bool = False


def log_event(event: VersionEvent) -> None:
    """Passes the event to Python's logging."""
    _LOG.log(logging.WARNING if event.problem else logging.INFO, "%s", event.message)


@dataclasses.dataclass
class _Failure:
    tried: Fingerprint
    seen: Fingerprint
    message: str


class VersionWatch:
    """Looks at a base path, once (`poll`) or until stopped (`start`).

    Args:
        base_dir: the folder of numbered folders.
        versions: where loaded versions are published.
        policy: which of them to serve.
        batching: how loaded versions batch calls; None for not at all.
        on_event: told of every change and problem, of the same problem once.
    """

    def __init__(
        self,
        base_dir: Path,
        versions: ModelVersions,
        *,
        policy: VersionPolicy | None = None,
        batching: BatchingOptions | None = None,
        on_event: Callable[[VersionEvent], None] = log_event,
    ):
        self._base_dir = base_dir
        self._versions = versions
        self._policy = policy or VersionPolicy()
        self._batching = batching
        self._on_event = on_event
        self._failures: dict[int, _Failure] = {}
        self._trouble = ""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, poll_seconds: float) -> None:
        """Looks every `poll_seconds`, in a thread of its own."""
        self._thread = threading.Thread(target=self._watch, args=(poll_seconds,), name="version-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and unloads everything, each version when its last call has ended."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        for number in self._versions.available:
            self._versions.retire(number)

    def poll(self) -> None:
        """One look: loads what is new and wanted, then unloads what is not wanted any more."""
        try:
            folders = version_folders(self._base_dir)
        except OSError as error:
            # A network drive that is away for a moment must not end the service.
            self._tell_trouble(f"cannot read {self._base_dir}: {error.strerror}; what is loaded stays loaded")
            return
        wanted = self._policy.select(folders)
        if not wanted:
            self._tell_trouble(f"no version to serve in {self._base_dir} yet; waiting for a folder named by a number")
        else:
            self._trouble = ""
        for number in self._failures.keys() - wanted:
            del self._failures[number]
        for number in sorted(wanted - set(self._versions.available), reverse=True):
            if not self._stopped.is_set() and self._worth_trying(number, folders[number]):
                self._load(number, folders[number])
        available = set(self._versions.available)
        if not wanted or wanted & available:
            for number in sorted(available - wanted):
                self._versions.retire(number)
                self._on_event(VersionEvent(f"version {number} unloaded"))

    def _watch(self, poll_seconds: float) -> None:
        while not self._stopped.wait(poll_seconds):
            try:
                self.poll()
            except Exception as error:
                _LOG.exception("looking for versions failed")
                self._tell_trouble(f"looking for versions failed: {error!r}; trying again")

    def _worth_trying(self, number: int, folder: Path) -> bool:
        failure = self._failures.get(number)
        if failure is None:
            return True
        now = fingerprint(folder)
        at_rest, failure.seen = now == failure.seen, now
        return at_rest and now != failure.tried

    def _load(self, number: int, folder: Path) -> None:
        begun, before = time.monotonic(), fingerprint(folder)
        self._versions.set_status(number, State.START)
        self._versions.set_status(number, State.LOADING)
        try:
            servable = load_version(folder)
            if fingerprint(folder) != before:
                servable.close()
                message = f"{folder}: its files changed while they were read; is it being copied?"
                raise StatusError(grpc.StatusCode.UNAVAILABLE, message)
        except StatusError as error:
            self._fail(number, before, error)
            return
        self._failures.pop(number, None)
        self._versions.publish(LoadedVersion(number, servable, self._batching))
        seconds = time.monotonic() - begun
        self._on_event(VersionEvent(f"version {number} available, loaded and warmed in {seconds:.1f} s"))

    def _fail(self, number: int, tried: Fingerprint, error: StatusError) -> None:
        gc.collect()
        self._versions.set_status(number, State.END, error)
        known = self._failures.get(number)
        self._failures[number] = _Failure(tried, tried, error.message)
        if known is None or known.message != error.message:
            serving = ", ".join(map(str, self._versions.available))
            stays = f"still serving {serving}" if serving else "nothing is served"
            what = f"version {number} cannot be loaded: {error.message}"
            self._on_event(VersionEvent(f"{what}; {stays}; tried again when its files change", problem=True))

    def _tell_trouble(self, message: str) -> None:
        if message != self._trouble:
            self._trouble = message
            self._on_event(VersionEvent(message, problem=True))


def version_folders(base_dir: Path) -> dict[int, Path]:
    """Sub-folders named by a number; of several names of one number (`7`, `007`) the last in order.

    A number beyond int64 is no version, as in TensorFlow Serving: no message could carry it.

    Raises:
        OSError: the base path cannot be read.
    """
    named = {int(path.name): path for path in sorted(base_dir.iterdir()) if path.name.isdecimal() and path.is_dir()}
    return {number: path for number, path in named.items() if number <= LARGEST_VERSION}


def fingerprint(folder: Path) -> Fingerprint:
    """Names, sizes and times of all files below a folder; a file that is just going away is left out."""
    files = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            try:
                stat = os.stat(path)
            except OSError:
                continue
            files.append((os.path.relpath(path, folder), stat.st_size, stat.st_mtime_ns))
    return tuple(sorted(files))
