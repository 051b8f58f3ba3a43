"""Loads a SavedModel the way TensorFlow Serving does and asks it.

The TF2 loader (and TFMA with it) accepts models that TensorFlow Serving refuses, so everything here goes through
`tf.compat.v1.saved_model.loader.load` and feeds and fetches by tensor name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, saved_model_pb2

from serving import contract
from serving.manifest import check_version

Arrays = dict[str, np.ndarray]


def signature_defs(directory: str | Path) -> dict[str, Any]:
    """Signatures of a SavedModel as their protos, by name; nothing of the model itself is loaded."""
    saved_model = saved_model_pb2.SavedModel.FromString(Path(directory, "saved_model.pb").read_bytes())
    graph = next(g for g in saved_model.meta_graphs if "serve" in g.meta_info_def.tags)
    return {name: sig for name, sig in graph.signature_def.items() if not name.startswith("__")}


class Servable:
    """A SavedModel in a session, as TensorFlow Serving holds it; a context manager. Threads may share one.

    Args:
        directory: of the SavedModel (one version).
        optimised: whether graphs are optimised before they run, as in TensorFlow Serving. It takes seconds, which a few
            calls do not win back.

    Raises:
        ChangedFiles: a file of a pushed version is missing or has another size than it was pushed with.

    Attributes:
        signature_defs: every signature as its proto, TensorFlow's own included.
        signatures: those that can be asked, by name.
    """

    def __init__(self, directory: str | Path, *, optimised: bool = True):
        check_version(Path(directory))
        self._graph = tf.Graph()
        config = config_pb2.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = not optimised
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        try:
            with self._graph.as_default():
                meta_graph = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(directory))
        except BaseException:
            self._session.close()
            raise
        self.signature_defs: dict[str, Any] = dict(meta_graph.signature_def)
        self.signatures = {k: v for k, v in self.signature_defs.items() if not k.startswith("__")}
        self._steps: dict[str, Callable[..., list[np.ndarray]]] = {}
        self._lock = threading.Lock()

    def run(self, signature: str, inputs: Mapping[str, Any]) -> Arrays:
        """Outputs of a signature by name.

        Raises:
            KeyError: unknown signature, with those that exist.
            ValueError: input names other than the signature's, with both.
            tf.errors.OpError: the graph refuses the values; a wrong dtype is refused too, not cast.
        """
        if signature not in self.signatures:
            raise KeyError(f"no signature '{signature}'; the model has {sorted(self.signatures)}")
        spec = self.signatures[signature]
        if set(inputs) != set(spec.inputs):
            raise ValueError(f"{signature} takes {sorted(spec.inputs)}, got {sorted(inputs)}")
        arrays = [
            np.asarray(inputs[name], object if spec.inputs[name].dtype == tf.string.as_datatype_enum else None)
            for name in sorted(spec.inputs)
        ]
        try:
            values = self._step(signature)(*arrays)
        except UnicodeDecodeError as error:
            # TensorFlow quotes the input that it refuses, and cannot tell so where that is no text.
            words = bytes(error.object).decode(errors="replace")
            raise tf.errors.InvalidArgumentError(None, None, words) from error
        return dict(zip(sorted(spec.outputs), values, strict=True))

    def _step(self, signature: str) -> Callable[..., list[np.ndarray]]:
        """The session's function of one signature, inputs and outputs in the order of their names.

        `Session.run` would look tensors up by name in each call, and cast values that TensorFlow Serving refuses.
        """
        with self._lock:
            if signature not in self._steps:
                spec = self.signatures[signature]
                options = config_pb2.CallableOptions(
                    feed=[spec.inputs[name].name for name in sorted(spec.inputs)],
                    fetch=[spec.outputs[name].name for name in sorted(spec.outputs)],
                )
                self._steps[signature] = self._session._make_callable_from_options(options)
            return self._steps[signature]

    def close(self) -> None:
        """Frees the session; no call may be under way."""
        self._steps.clear()
        self._session.close()

    def __enter__(self) -> Servable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def request_arrays(request: Mapping[str, Any], model_contract: contract.ModelContract) -> Arrays:
    """One request (lists and scalars, as in a golden request) as the arrays of the `rank` signature, B = 1.

    Absent profile, context and candidate columns are missing values, absent ages of history items are unknown; extra
    keys are an error of the caller's and raise KeyError. A candidate column with more or fewer values than candidates,
    or ages than history items, raises ValueError, and so does a profile or context column of several values that is no
    list of texts.
    Where the request has content vectors (`candidate_content/MODALITY`, a list per candidate) the arrays are those of
    `rank_with_content`, with zeros for the modalities it leaves out.
    """
    widths = {contract.CONTENT_PREFIX + name: width for name, width in model_contract.content_widths.items()}
    known = {contract.USER_ID, contract.HISTORY_ITEM_ID, contract.CANDIDATE_ITEM_ID, *model_contract.user_inputs}
    known |= set(model_contract.candidate_inputs)
    known |= set(model_contract.histories)
    if model_contract.history_ages:
        known |= set(model_contract.histories.values())
    extra = sorted(set(request) - known - set(widths))
    if extra:
        raise KeyError(f"unknown request keys {extra}; known: {sorted(known | set(widths))}")
    arrays = {
        contract.USER_ID: np.array([request[contract.USER_ID]], object),
        contract.CANDIDATE_ITEM_ID: np.array(request[contract.CANDIDATE_ITEM_ID], object).reshape(1, -1),
    }
    for history, name in model_contract.histories.items():
        arrays[history] = np.array(request.get(history) or [], object).reshape(1, -1)
        if not model_contract.history_ages:
            continue
        length = arrays[history].shape[1]
        ages = request.get(name)
        ages = [None] * length if ages is None else ages
        if not isinstance(ages, list | tuple) or len(ages) != length:
            raise ValueError(
                f"{name} must be a list of {length} numbers, one for each item of the history, got {ages!r:.60}"
            )
        arrays[name] = _numbers(ages)
    for name, dtype in model_contract.user_inputs.items():
        value = request.get(name)
        if name in model_contract.user_lists:
            arrays[name] = np.array(_texts(name, value), object).reshape(1, -1)
        elif dtype == "string":
            arrays[name] = np.array(["" if value is None else value], object)
        else:
            arrays[name] = np.array([np.nan if value is None else value], np.float32)
    count = arrays[contract.CANDIDATE_ITEM_ID].shape[1]
    for name, dtype in model_contract.candidate_inputs.items():
        values = [None] * count if request.get(name) is None else request[name]
        if isinstance(values, str) or len(values) != count:
            raise ValueError(f"{name} must be a list of {count} values, one for each candidate, got {values!r:.60}")
        if dtype == "string":
            filled = ["" if value is None else value for value in values]
            arrays[name] = np.array(filled, object).reshape(1, -1)
        else:
            arrays[name] = _numbers(values)
    if set(widths) & set(request):
        for name, width in widths.items():
            vectors = np.asarray(request.get(name, np.zeros((count, width))), np.float32)
            arrays[name] = vectors.reshape(1, *vectors.shape)
    return arrays


def largest_difference(expected: np.ndarray, other: Any) -> float:
    """The largest difference of scores, absolute and, for values beyond 1, relative; infinite for other numbers."""
    values = np.ravel(np.asarray(other, np.float32))
    if values.size != expected.size:
        return float("inf")
    scale = np.maximum(1.0, np.abs(expected.ravel()))
    return float((np.abs(expected.ravel() - values) / scale).max(initial=0.0))


def user_part(request: Mapping[str, Any], model_contract: contract.ModelContract) -> dict[str, Any]:
    """A request without its candidates, their columns and the content that they carry."""
    of_candidates = {contract.CANDIDATE_ITEM_ID, *model_contract.candidate_inputs}
    return {
        name: value
        for name, value in request.items()
        if name not in of_candidates and not name.startswith(contract.CONTENT_PREFIX)
    }


def user_arrays(request: Mapping[str, Any], model_contract: contract.ModelContract) -> Arrays:
    """The arrays of `user_vector`, B = 1, of a request as `request_arrays` takes it; candidates are left out."""
    arrays = request_arrays({**user_part(request, model_contract), contract.CANDIDATE_ITEM_ID: []}, model_contract)
    of_candidates = {contract.CANDIDATE_ITEM_ID, *model_contract.candidate_inputs}
    return {name: array for name, array in arrays.items() if name not in of_candidates}


def retrieval_arrays(
    request: Mapping[str, Any], k: int, exclude: Sequence[str], model_contract: contract.ModelContract
) -> Arrays:
    """The arrays of `retrieve` or `recommend`, B = 1, of a request as `request_arrays` takes it.

    Args:
        request: lists and scalars; what is of its candidates is left out.
        k: how many items are wanted.
        exclude: ids of items that are not wanted.
        model_contract: of the model.
    """
    return {
        **user_arrays(request, model_contract),
        contract.K: np.array([k], np.int32),
        contract.EXCLUDE_ITEM_ID: np.array(list(exclude), object).reshape(1, -1),
    }


def _texts(name: str, value: Any) -> list[str]:
    """Values of a column that may have several."""
    if value is None:
        return []
    if not isinstance(value, list | tuple) or not all(isinstance(each, str | None) for each in value):
        raise ValueError(f"{name} must be a list of texts, got {value!r:.60}")
    return [each or "" for each in value]


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    """Float32 [1, values]; NaN for None."""
    return np.array([np.nan if value is None else value for value in values], np.float32).reshape(1, -1)
