"""Loads a SavedModel the way TensorFlow Serving does and asks it: what must work before a model is pushed.

The TF2 loader (and TFMA with it) accepts models that TensorFlow Serving refuses, so everything here goes through
`tf.compat.v1.saved_model.loader.load` and feeds and fetches by tensor name.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, saved_model_pb2

from serving import contract
from serving.messages import first_line
from serving.warmup import read_warmup

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

    Attributes:
        signature_defs: every signature as its proto, TensorFlow's own included.
        signatures: those that can be asked, by name.
    """

    def __init__(self, directory: str | Path):
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph)
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
        return dict(zip(sorted(spec.outputs), self._step(signature)(*arrays), strict=True))

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

    Absent profile and context columns are missing values; extra keys are an error of the caller's and raise KeyError.
    Where the request has content vectors (`candidate_content/MODALITY`, a list per candidate) the arrays are those of
    `rank_with_content`, with zeros for the modalities it leaves out.
    """
    widths = {contract.CONTENT_PREFIX + name: width for name, width in model_contract.content_widths.items()}
    known = {contract.USER_ID, contract.HISTORY_ITEM_ID, contract.CANDIDATE_ITEM_ID, *model_contract.user_inputs}
    extra = sorted(set(request) - known - set(widths))
    if extra:
        raise KeyError(f"unknown request keys {extra}; known: {sorted(known | set(widths))}")
    arrays = {
        contract.USER_ID: np.array([request[contract.USER_ID]], object),
        contract.HISTORY_ITEM_ID: np.array(request.get(contract.HISTORY_ITEM_ID, []), object).reshape(1, -1),
        contract.CANDIDATE_ITEM_ID: np.array(request[contract.CANDIDATE_ITEM_ID], object).reshape(1, -1),
    }
    for name, dtype in model_contract.user_inputs.items():
        value = request.get(name)
        if dtype == "string":
            arrays[name] = np.array(["" if value is None else value], object)
        else:
            arrays[name] = np.array([np.nan if value is None else value], np.float32)
    if set(widths) & set(request):
        count = arrays[contract.CANDIDATE_ITEM_ID].shape[1]
        for name, width in widths.items():
            vectors = np.asarray(request.get(name, np.zeros((count, width))), np.float32)
            arrays[name] = vectors.reshape(1, *vectors.shape)
    return arrays


def check_servable(directory: str | Path, max_difference: float) -> tuple[list[str], dict[str, Any]]:
    """Everything that must hold of a model before it may be pushed.

    It loads; it has the signatures of its contract; every warm-up request is answered with finite scores; on the golden
    requests the `rank` signature equals the scores that the live Keras model gave before the export, `user_tower` and
    then `candidate` equal `rank`, and scores are probabilities. Golden requests that carry content go to
    `rank_with_content` and `candidate_with_content` instead.

    Args:
        directory: of the SavedModel.
        max_difference: allowed absolute difference of a score.

    Returns:
        Problems as sentences (empty: the model may be pushed), and figures: requests checked, largest differences.
    """
    figures: dict[str, Any] = {"golden_requests": 0, "warmup_requests": 0}
    try:
        model_contract = contract.ModelContract.read(directory)
        golden = json.loads(Path(directory, contract.GOLDEN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"the model lacks a readable contract or golden requests: {error}"], figures
    try:
        servable = Servable(directory)
    # TensorFlow raises many types here, and each of them means one thing: the server would not load it either.
    except Exception as error:
        return [f"TensorFlow Serving's loader refuses the model: {first_line(error)}"], figures
    with servable:
        wanted = {contract.USER_TOWER, contract.CANDIDATE, contract.RANK, contract.SERVING_DEFAULT}
        missing = sorted((wanted | set(model_contract.signatures)) - set(servable.signatures))
        if missing:
            return [f"signatures {missing} are missing; the model has {sorted(servable.signatures)}"], figures
        problems = _check_warmup(servable, directory, figures)
        problems += _check_golden(servable, model_contract, golden, max_difference, figures)
    return problems, figures


def _check_warmup(servable: Servable, directory: str | Path, figures: dict[str, Any]) -> list[str]:
    problems = []
    try:
        requests = read_warmup(Path(directory, contract.WARMUP_FILE))
    except (OSError, ValueError, tf.errors.OpError) as error:
        return [f"warm-up requests cannot be read: {first_line(error)}"]
    for number, (signature, inputs) in enumerate(requests):
        figures["warmup_requests"] += 1
        try:
            outputs = servable.run(signature, inputs)
        except Exception as error:
            problems.append(f"warm-up request {number} of '{signature}' fails: {first_line(error)}")
            continue
        bad = [name for name, value in outputs.items() if value.dtype.kind == "f" and not np.isfinite(value).all()]
        if bad:
            problems.append(f"warm-up request {number} of '{signature}' gives non-finite {bad}")
    if not requests:
        problems.append("there are no warm-up requests")
    return problems


def _check_golden(
    servable: Servable,
    model_contract: contract.ModelContract,
    golden: list[dict[str, Any]],
    max_difference: float,
    figures: dict[str, Any],
) -> list[str]:
    problems = []
    largest = {"keras_vs_rank": 0.0, "two_step_vs_rank": 0.0}
    state_names = [n for n in servable.signatures[contract.CANDIDATE].inputs if n != contract.CANDIDATE_ITEM_ID]
    for entry in golden:
        case = entry["case"]
        figures["golden_requests"] += 1
        arrays = request_arrays(entry["request"], model_contract)
        candidates = {n: v for n, v in arrays.items() if n.startswith(contract.CONTENT_PREFIX)}
        carries = bool(candidates)
        candidates[contract.CANDIDATE_ITEM_ID] = arrays[contract.CANDIDATE_ITEM_ID]
        try:
            ranked = servable.run(contract.RANK_WITH_CONTENT if carries else contract.RANK, arrays)[contract.SCORE]
            state = servable.run(contract.USER_TOWER, {n: v for n, v in arrays.items() if n not in candidates})
            two_step = servable.run(
                contract.CANDIDATE_WITH_CONTENT if carries else contract.CANDIDATE,
                {**{n: state[n] for n in state_names}, **candidates},
            )[contract.SCORE]
        except Exception as error:
            problems.append(f"golden request '{case}' fails: {first_line(error)}")
            continue
        if not (np.isfinite(ranked).all() and (ranked >= 0).all() and (ranked <= 1).all()):
            problems.append(f"golden request '{case}': scores are not probabilities: {ranked.ravel()[:5]}")
            continue
        for name, other in (("keras_vs_rank", np.array(entry["scores"], np.float32)), ("two_step_vs_rank", two_step)):
            difference = float(np.abs(ranked.ravel() - np.ravel(other)).max(initial=0.0))
            largest[name] = max(largest[name], difference)
            if not difference <= max_difference:
                problems.append(
                    f"golden request '{case}': {name.replace('_', ' ')} differ by {difference:.2e}, "
                    f"allowed {max_difference:.2e}"
                )
    if not golden:
        problems.append("there are no golden requests")
    figures["max_difference"] = largest
    return problems
