"""One request on its way through Keras and through the exported model, compared stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving import contract
from serving.export.servable import Arrays, Servable
from serving.export.warmup import CapturedRequest
from serving.messages import first_line
from tfx_pipeline.trained.keras_model import KerasModel

RAW, TRANSFORMED, STATE, SCORE, CAPTURED = STAGES = (
    "raw features",
    "transformed features",
    "user state",
    "score",
    "captured answer",
)
_DEFAULT_SIGNATURE = contract.SERVING_DEFAULT
_WITH_STATE = (contract.CANDIDATE, contract.CANDIDATE_WITH_CONTENT)
_OF_CATALOGUE = (contract.RETRIEVE, contract.RECOMMEND)


class StageResult(NamedTuple):
    """How one stage came out.

    Attributes:
        stage: one of `STAGES`.
        difference: the largest of any tensor, absolute and, for values beyond 1, relative; None where there is no
            number for it: shapes, indices or strings that differ, an input the model does not take.
        detail: which tensor differs most, and how; "" if nothing differs at all.
    """

    stage: str
    difference: float | None
    detail: str = ""

    def within(self, tolerance: float) -> bool:
        """Whether the two sides are equal to `tolerance`."""
        return self.difference is not None and self.difference <= tolerance


def replay_request(
    request: CapturedRequest, model: KerasModel, servable: Servable, model_contract: contract.ModelContract
) -> list[StageResult]:
    """Scores one request again, in Keras and by the exported model.

    Each stage starts from the request itself on either side, so that a difference is that of its own stage or of one
    before it. A request of `candidate` brings the user's state with it; that one is not computed again. Keras knows no
    catalogue: of `retrieve` and `recommend` the user is compared, and the captured answer.

    Args:
        request: captured; a signature of "" is `serving_default`.
        model: the Keras side.
        servable: the exported model.
        model_contract: of the exported model.

    Returns:
        The stages that the request's signature has, in the order of `STAGES`. After raw features that the model does
        not take, or that it fails on, there is nothing more.
    """
    signature = request.signature or _DEFAULT_SIGNATURE
    if problem := _raw_problem(signature, request.inputs, model_contract):
        return [StageResult(RAW, None, problem)]
    try:
        return [StageResult(RAW, 0.0), *_compared(signature, request, model, servable)]
    # What one side refuses (content that is not finite, a cut example) both sides should, and it is the request's.
    except tf.errors.OpError as error:
        return [StageResult(RAW, None, f"the request fails: {first_line(error)}")]


def _compared(signature: str, request: CapturedRequest, model: KerasModel, servable: Servable) -> Iterator[StageResult]:
    answer = servable.run(signature, request.inputs)
    if signature == contract.SERVING_DEFAULT:
        yield compare(SCORE, model.scores_of_examples(request.inputs[contract.EXAMPLES]), answer)
    else:
        candidates = {name: value for name, value in request.inputs.items() if _of_candidates(name, model)}
        # What is asked of the catalogue is no feature of the user.
        asked = (contract.K, contract.EXCLUDE_ITEM_ID) if signature in _OF_CATALOGUE else ()
        rest = {name: value for name, value in request.inputs.items() if name not in candidates and name not in asked}
        user = None if signature in _WITH_STATE else rest
        features = model.features(user, candidates or None)
        yield compare(TRANSFORMED, features, _exported_features(servable, user, candidates or None, features))
        state = rest if user is None else model.state(user)
        if user is not None:
            yield compare(STATE, state, servable.run(contract.USER_TOWER, user))
        if candidates and signature != contract.TRANSFORM:
            # What `explain` tells beside the score is no score.
            ours = model.scores(state, candidates)
            yield compare(SCORE, ours, {name: answer[name] for name in ours if name in answer})
    if request.outputs:
        captured = {name: _cut(value, answer.get(name)) for name, value in request.outputs.items()}
        yield compare(CAPTURED, captured, {name: answer[name] for name in captured if name in answer})


def compare(stage: str, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> StageResult:
    """The worst difference of two sets of tensors by name; NaN equals NaN."""
    if set(ours) != set(theirs):
        alone = sorted(set(ours) ^ set(theirs))
        return StageResult(stage, None, f"{', '.join(alone)}: on one side only")
    worst = StageResult(stage, 0.0)
    for name in sorted(ours):
        difference, detail = _difference(np.asarray(ours[name]), np.asarray(theirs[name]))
        if difference is None:
            return StageResult(stage, None, f"{name}: {detail}")
        if worst.difference is None or difference > worst.difference:
            worst = StageResult(stage, difference, name)
    return worst


def _difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float | None, str]:
    if ours.shape != theirs.shape:
        return None, f"shape {list(ours.shape)} and {list(theirs.shape)}"
    if ours.dtype.kind != "f" or theirs.dtype.kind != "f":
        different = np.argwhere(ours != theirs)
        if not len(different):
            return 0.0, ""
        where = tuple(different[0])
        place = ", ".join(map(str, where))
        return None, f"{len(different)} of {ours.size} values, the first at [{place}]: {ours[where]}, {theirs[where]}"
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    distance = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    distance[(ours == theirs) | (np.isnan(ours) & np.isnan(theirs))] = 0.0
    if not np.isfinite(distance).all():
        return None, "a value is not finite on one side"
    return float(distance.max(initial=0.0)), ""


def _raw_problem(signature: str, inputs: Mapping[str, np.ndarray], model_contract: contract.ModelContract) -> str:
    """Why the model does not take these inputs; "" if it does."""
    if signature not in model_contract.signatures:
        return f"the model has no signature '{signature}', it has {', '.join(model_contract.signatures)}"
    specs = model_contract.signatures[signature]["inputs"]
    problems = [f"{name} is missing" for name in sorted(set(specs) - set(inputs))]
    problems += [f"{name} is not an input of '{signature}'" for name in sorted(set(inputs) - set(specs))]
    for name in sorted(set(inputs) & set(specs)):
        value, spec = inputs[name], specs[name]
        dtype = "string" if value.dtype.kind in "OSU" else value.dtype.name
        fits = len(value.shape) == len(spec.shape) and all(
            size in (None, got) for size, got in zip(spec.shape, value.shape, strict=True)
        )
        if dtype != spec.dtype or not fits:
            wanted = ", ".join("?" if size is None else str(size) for size in spec.shape)
            problems.append(f"{name} is {dtype} {list(value.shape)}, expected {spec.dtype} [{wanted}]")
    return "; ".join(problems)


def _exported_features(
    servable: Servable, user: Arrays | None, candidates: Arrays | None, wanted: Mapping[str, np.ndarray]
) -> Arrays:
    """The same model inputs out of the exported model, whose signature takes user and candidates together."""
    specs = servable.signatures[contract.TRANSFORM].inputs
    given = user if user is not None else candidates
    assert given is not None, "a request has a user, or candidates"
    batch = len(next(iter(given.values())))
    inputs: Arrays = {}
    for name, spec in specs.items():
        brought = {**(user or {}), **(candidates or {})}
        # What is of the absent side is empty: [B], or [B, 1] of histories and candidates.
        shape = (batch, 1)[: len(spec.tensor_shape.dim)]
        if name in brought:
            inputs[name] = brought[name]
        elif spec.dtype == tf.string.as_datatype_enum:
            inputs[name] = np.full(shape, b"", object)
        else:
            inputs[name] = np.full(shape, np.nan, np.float32)
    found = servable.run(contract.TRANSFORM, inputs)
    return {name: value for name, value in found.items() if name in wanted}


def _of_candidates(name: str, model: KerasModel) -> bool:
    ours = (contract.CANDIDATE_ITEM_ID, *model.transform.candidate_inputs)
    return name in ours or name.startswith(contract.CONTENT_PREFIX)


def _cut(captured: np.ndarray, answer: np.ndarray | None) -> np.ndarray:
    """A captured score without the columns that the server's batching padded it with."""
    if answer is None or captured.ndim != 2 or answer.ndim != 2 or captured.shape[1] <= answer.shape[1]:
        return captured
    return captured[:, : answer.shape[1]]
