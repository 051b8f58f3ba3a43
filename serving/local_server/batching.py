"""One run of the model for several calls, as TensorFlow Serving does with `pad_variable_length_inputs`.

The rules are its own, those that hurt included: each tensor is padded with *its first element* up to the widest of the
batch; an empty tensor cannot be padded and fails the whole batch; rows come back as wide as the batch. A client that
cuts scores to its own N and begins histories with "" is not affected by its neighbours.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence

import grpc
import numpy as np

from serving.local_server.errors import LocalServerError, StatusError

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class BatchingOptions:
    """As in TensorFlow Serving's `batching_parameters.txt`.

    Attributes:
        max_batch_size: rows (first dimension) of one run at most.
        timeout_seconds: how long the first call waits for others.
    """

    max_batch_size: int = 32
    timeout_seconds: float = 0.005

    def __post_init__(self) -> None:
        if self.max_batch_size < 1 or self.timeout_seconds < 0:
            raise LocalServerError(
                f"a batch has at least 1 row and waits 0 seconds or more; got {self.max_batch_size} and "
                f"{self.timeout_seconds}"
            )


class _Batch:
    """Calls that run together; whoever opened it runs it."""

    def __init__(self) -> None:
        self.tasks: list[Arrays] = []
        self.rows: list[int] = []
        self.closed = threading.Event()
        self.done = threading.Event()
        self.outputs: list[Arrays] = []
        self.error: BaseException | None = None


class Batcher:
    """Batches the calls of one signature of one version.

    Args:
        run: the model: arrays by name to outputs by name.
        options: when a batch is full, and how long it waits.
    """

    def __init__(self, run: Callable[[Arrays], Arrays], options: BatchingOptions):
        self._run = run
        self._options = options
        self._lock = threading.Lock()
        self._open: _Batch | None = None

    def __call__(self, inputs: Arrays) -> Arrays:
        """The outputs of one call, as wide as the widest of its batch.

        Raises:
            StatusError: INVALID_ARGUMENT, for inputs that cannot be batched.
            tf.errors.OpError: the model refuses the batch; every call of it gets the same error.
        """
        rows = _rows(inputs)
        if rows > self._options.max_batch_size:
            raise StatusError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Task size {rows} is larger than maximum input batch size {self._options.max_batch_size}",
            )
        batch, place, opened = self._join(inputs, rows)
        if opened:
            batch.closed.wait(self._options.timeout_seconds)
            self._close(batch)
            self._process(batch)
        else:
            batch.done.wait()
        if batch.error is not None:
            raise batch.error
        return batch.outputs[place]

    def _join(self, inputs: Arrays, rows: int) -> tuple[_Batch, int, bool]:
        """The batch that the call is in, its place there, and whether it is the first."""
        with self._lock:
            batch = self._open
            if batch is not None and sum(batch.rows) + rows > self._options.max_batch_size:
                batch.closed.set()
                batch = None
            opened = batch is None
            if batch is None:
                batch = self._open = _Batch()
            batch.tasks.append(inputs)
            batch.rows.append(rows)
            if sum(batch.rows) == self._options.max_batch_size:
                batch.closed.set()
                self._open = None
            return batch, len(batch.tasks) - 1, opened

    def _close(self, batch: _Batch) -> None:
        with self._lock:
            if self._open is batch:
                self._open = None

    def _process(self, batch: _Batch) -> None:
        try:
            batch.outputs = split(self._run(merge(batch.tasks)), batch.rows)
        except BaseException as error:
            batch.error = error
        finally:
            batch.done.set()


def merge(tasks: Sequence[Arrays]) -> Arrays:
    """Inputs of all calls, one below the other, each padded to the widest.

    Raises:
        StatusError: INVALID_ARGUMENT, when an empty tensor would have to be padded.
    """
    merged = {}
    for name in tasks[0]:
        arrays = [task[name] for task in tasks]
        widest = np.max([array.shape[1:] for array in arrays], axis=0).astype(int)
        merged[name] = np.concatenate([_pad(array, (len(array), *widest)) for array in arrays])
    return merged


def split(outputs: Arrays, rows: Sequence[int]) -> list[Arrays]:
    """Each call's rows of the outputs.

    Raises:
        StatusError: FAILED_PRECONDITION, when an output has not one row per input row.
    """
    ends = np.cumsum(rows)
    for value in outputs.values():
        if value.ndim == 0 or len(value) != ends[-1]:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    return [
        {name: value[end - count : end] for name, value in outputs.items()}
        for end, count in zip(ends, rows, strict=True)
    ]


def _rows(inputs: Arrays) -> int:
    if any(array.ndim == 0 for array in inputs.values()):
        raise StatusError(
            grpc.StatusCode.INVALID_ARGUMENT, "Batching Run() input tensors must have at least one dimension"
        )
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) != 1:
        raise StatusError(
            grpc.StatusCode.INVALID_ARGUMENT,
            "Batching Run() input tensors must have equal 0th-dimension size; got "
            + ", ".join(f"{name}: {len(array)}" for name, array in sorted(inputs.items())),
        )
    return sizes.pop()


def _pad(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.size == np.prod(shape, dtype=np.int64):
        return array.reshape(shape)
    if array.size == 0:
        raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, "Got empty tensor in batch of non-empty tensors.")
    padded = np.full(shape, array.flat[0], array.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded
