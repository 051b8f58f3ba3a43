"""The versions of a model: which there are, in which state, and who is using them."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import gc
import threading
from collections.abc import Iterator, Mapping

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from serving.export.servable import Servable
from serving.local_server.batching import Arrays, Batcher, BatchingOptions
from serving.local_server.errors import StatusError

_Proto = get_model_status_pb2.ModelVersionStatus


class State(enum.IntEnum):
    """A version goes from the first to the last; one that cannot be loaded goes to END with an error."""

    START = _Proto.START
    LOADING = _Proto.LOADING
    AVAILABLE = _Proto.AVAILABLE
    UNLOADING = _Proto.UNLOADING
    END = _Proto.END


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """What GetModelStatus says of one version; `error` is None where all is well."""

    state: State
    error: StatusError | None = None


class LoadedVersion:
    """A version that answers calls.

    Args:
        number: the version's.
        servable: the loaded model; this object closes it.
        batching: None to run every call by itself.
    """

    def __init__(self, number: int, servable: Servable, batching: BatchingOptions | None = None):
        self.number = number
        self.servable = servable
        self.calls = 0
        self._batchers: dict[str, Batcher] = {}
        if batching is not None:
            for signature in servable.signatures:
                self._batchers[signature] = Batcher(functools.partial(servable.run, signature), batching)

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        """Outputs of a signature by name, possibly together with other calls."""
        if signature in self._batchers:
            return self._batchers[signature](inputs)
        return self.servable.run(signature, inputs)

    def close(self) -> None:
        """Frees the model; no call may be under way."""
        self._batchers.clear()
        self.servable.close()


class ModelVersions:
    """All versions of one model, for any number of threads.

    ```
    set_status(START, LOADING) -> publish (AVAILABLE) -> retire (UNLOADING, calls end, END)
                               -> set_status(END, error)
    ```

    Args:
        model: the name that clients use.
        labels: names for version numbers.
    """

    def __init__(self, model: str, labels: Mapping[str, int] | None = None):
        self.model = model
        self._labels = dict(labels or {})
        self._changed = threading.Condition()
        self._statuses: dict[int, VersionStatus] = {}
        self._available: dict[int, LoadedVersion] = {}

    @property
    def available(self) -> list[int]:
        """Numbers of the versions that answer, ascending."""
        with self._changed:
            return sorted(self._available)

    @property
    def signatures(self) -> list[str]:
        """Names of the newest version's signatures; empty while there is none."""
        with self._changed:
            newest = max(self._available, default=None)
            return [] if newest is None else sorted(self._available[newest].servable.signatures)

    def statuses(self) -> dict[int, VersionStatus]:
        """Every version that was ever looked at, ascending."""
        with self._changed:
            return dict(sorted(self._statuses.items()))

    def set_label(self, label: str, version: int) -> None:
        """Gives a version a name, or moves the name."""
        with self._changed:
            self._labels[label] = version

    def set_status(self, number: int, state: State, error: StatusError | None = None) -> None:
        """Records where a version is that cannot be asked yet, or not at all."""
        with self._changed:
            self._statuses[number] = VersionStatus(state, error)

    def publish(self, version: LoadedVersion) -> None:
        """From now on calls reach the version."""
        with self._changed:
            self._available[version.number] = version
            self._statuses[version.number] = VersionStatus(State.AVAILABLE)
            self._changed.notify_all()

    def retire(self, number: int) -> None:
        """No new call reaches the version; returns when those under way have ended and its memory is free."""
        with self._changed:
            self._statuses[number] = VersionStatus(State.UNLOADING)
            version = self._available.pop(number)
            self._changed.wait_for(lambda: version.calls == 0)
        version.close()
        # Graphs hold themselves in cycles; without this the memory of each swap would wait for a later collection.
        gc.collect()
        with self._changed:
            self._statuses[number] = VersionStatus(State.END)

    def wait_until_available(self, timeout: float) -> bool:
        """Waits for any version; whether there is one."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._available), timeout)

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[LoadedVersion]:
        """The version that a call asks for; it stays loaded until the block ends.

        Raises:
            StatusError: NOT_FOUND for a model or version that is not served, INVALID_ARGUMENT for an unknown label.
        """
        with self._changed:
            version = self._find(spec)
            version.calls += 1
        try:
            yield version
        finally:
            with self._changed:
                version.calls -= 1
                self._changed.notify_all()

    def _find(self, spec: model_pb2.ModelSpec) -> LoadedVersion:
        if not spec.name:
            raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        number = self._number(spec)
        asked = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
        if number is None and self._available:
            number = max(self._available)
        if spec.name != self.model or number not in self._available:
            raise StatusError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
        return self._available[number]

    def _number(self, spec: model_pb2.ModelSpec) -> int | None:
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            return int(spec.version.value)
        if choice == "version_label":
            if spec.name != self.model or spec.version_label not in self._labels:
                raise StatusError(
                    grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {spec.version_label}"
                )
            return self._labels[spec.version_label]
        return None
