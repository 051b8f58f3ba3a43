"""From a server's answer to scores and states: pure functions, shared by every transport."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import contract
from serving.client.errors import InvalidAnswer
from serving.client.requests import Selector
from serving.client.tensors import held_values, shape_of, to_array
from serving.protos import predict_pb2, tensor_pb2


def answered_scores(
    response: predict_pb2.PredictResponse, outputs: Collection[str], count: int, *, formula: bool
) -> dict[str, NDArray[np.float32]]:
    """The scores of `count` candidates by output, float32 [count] each.

    Args:
        response: of `rank` or `candidate`.
        outputs: that were asked for.
        count: candidates.
        formula: whether `score` is one of several objectives, and so need only be finite.

    Raises:
        InvalidAnswer: as `scores_of`.
    """
    return {
        name: scores_of(response, count, name, probable=not (formula and name == contract.SCORE)) for name in outputs
    }


def scores_of(
    response: predict_pb2.PredictResponse, count: int, output: str = contract.SCORE, *, probable: bool = True
) -> NDArray[np.float32]:
    """One output's scores of `count` candidates, float32 [count].

    An answer may be wider: a server that batches pads a request to the longest of its batch. The padding is cut off,
    and no memory is taken for it.

    Raises:
        InvalidAnswer: without scores, with fewer than `count`, or with one that is not finite or, where `probable`, no
            probability.
    """
    if output not in response.outputs:
        raise InvalidAnswer(f"the answer has no '{output}', it has {sorted(response.outputs)}")
    proto = response.outputs[output]
    try:
        shape = shape_of(proto)
        scores: NDArray[Any] = held_values(proto, shape, count)
    except ValueError as error:
        raise InvalidAnswer(f"the scores cannot be read: {error}") from error
    if scores.dtype.kind != "f" or len(shape) != 2 or shape[0] != 1 or shape[1] < count:
        raise InvalidAnswer(f"expected float scores of shape [1, {count}] or wider, got {scores.dtype} {list(shape)}")
    if len(scores) < count:
        raise InvalidAnswer(f"the answer holds {len(scores)} scores, expected one for each of {count} candidates")
    possible = (scores >= 0) & (scores <= 1) if probable else np.isfinite(scores)
    if not possible.all():
        bad = np.flatnonzero(~possible)
        what = "outside [0, 1]" if np.isfinite(scores).all() else "not finite"
        raise InvalidAnswer(
            f"{bad.size} of {count} scores are {what}, the first is that of candidate {bad[0]}: {scores[bad[0]]}"
        )
    return scores.astype(np.float32)


def answered_items(response: predict_pb2.PredictResponse, k: int, excluded: Collection[str]) -> list[str]:
    """The items of `retrieve` or `recommend`, at most `k`: those before the first "", which is padding.

    An answer may be wider, as that of `scores_of`.

    Raises:
        InvalidAnswer: without items, with fewer places than `k`, with something that is no id, with an item twice, one
            after padding, or one that is excluded.
    """
    held = _row_of(response, contract.ITEM_ID, k)
    if held.dtype != object:
        raise InvalidAnswer(f"expected '{contract.ITEM_ID}' to be strings, got {held.dtype}")
    try:
        items = [bytes(item).decode() for item in held.tolist()]
    except UnicodeDecodeError as error:
        raise InvalidAnswer(f"the answer has an item id that is no text: {error}") from error
    count = items.index("") if "" in items else k
    if any(items[count:]):
        raise InvalidAnswer(f"the answer has items after padding, the first padding is at place {count}")
    items = items[:count]
    if len(set(items)) < count:
        raise InvalidAnswer(f"the answer has {count} items, of which only {len(set(items))} are different")
    if unwanted := sorted(set(items) & set(excluded)):
        raise InvalidAnswer(f"the answer has {len(unwanted)} items that the request excluded, such as {unwanted[0]!r}")
    return items


def check_falling(scores: NDArray[np.float32]) -> None:
    """Compares neighbours.

    Raises:
        InvalidAnswer: one is larger than that before it.
    """
    rising = np.flatnonzero(scores[1:] > scores[:-1])
    if rising.size:
        place = int(rising[0])
        raise InvalidAnswer(
            f"the items are not in the order of their scores: {scores[place]} is followed by {scores[place + 1]}"
        )


def retrieval_ranks_of(response: predict_pb2.PredictResponse, count: int) -> NDArray[np.int32]:
    """The places of `count` recommended items in retrieval, int32 [count].

    Raises:
        InvalidAnswer: without them, with fewer than `count`, or with one below 1.
    """
    ranks = _row_of(response, contract.RETRIEVAL_RANK, count)
    if ranks.dtype.kind != "i" or (ranks < 1).any():
        raise InvalidAnswer(f"expected '{contract.RETRIEVAL_RANK}' to be integers from 1 on, got {ranks[:3]}")
    return ranks.astype(np.int32)


def user_vector_of(response: predict_pb2.PredictResponse, width: int) -> NDArray[np.float32]:
    """The vector of one user, float32 [1, width].

    Raises:
        InvalidAnswer: without it, of another width, or with a value that is not finite.
    """
    values = _array_of(response, contract.USER_VECTOR)
    if values.dtype.kind != "f" or values.shape != (1, width):
        raise InvalidAnswer(
            f"expected '{contract.USER_VECTOR}' to be floats of shape [1, {width}], got {values.dtype} "
            f"{list(values.shape)}"
        )
    if not np.isfinite(values).all():
        raise InvalidAnswer(f"'{contract.USER_VECTOR}' has values that are not finite")
    return values.astype(np.float32)


def retrieval_weight_of(response: predict_pb2.PredictResponse) -> float:
    """The weight of retrieval's score in the order of a page.

    Raises:
        InvalidAnswer: without it, or no finite number.
    """
    values = _array_of(response, contract.RETRIEVAL_WEIGHT)
    if values.dtype.kind != "f" or values.shape != (1,) or not np.isfinite(values).all():
        raise InvalidAnswer(
            f"expected '{contract.RETRIEVAL_WEIGHT}' to be one finite float, got {values.dtype} {list(values.shape)}"
        )
    return float(values[0])


def catalogue_of(response: predict_pb2.PredictResponse) -> str:
    """The digest of the catalogue that a user's vector is for.

    Raises:
        InvalidAnswer: without it.
    """
    values = _array_of(response, contract.CATALOGUE)
    if values.dtype != object or values.shape != (1,):
        raise InvalidAnswer(
            f"expected '{contract.CATALOGUE}' to be one string, got {values.dtype} {list(values.shape)}"
        )
    return bytes(values[0]).decode(errors="replace")


def _array_of(response: predict_pb2.PredictResponse, output: str) -> NDArray[Any]:
    """An output.

    Raises:
        InvalidAnswer: it is not there, or cannot be read.
    """
    if output not in response.outputs:
        raise InvalidAnswer(f"the answer has no '{output}', it has {sorted(response.outputs)}")
    try:
        return to_array(response.outputs[output])
    except ValueError as error:
        raise InvalidAnswer(f"'{output}' cannot be read: {error}") from error


def _row_of(response: predict_pb2.PredictResponse, output: str, count: int) -> NDArray[Any]:
    """The first `count` values of an output of one request.

    Raises:
        InvalidAnswer: it is not there, or has fewer.
    """
    if output not in response.outputs:
        raise InvalidAnswer(f"the answer has no '{output}', it has {sorted(response.outputs)}")
    proto = response.outputs[output]
    try:
        shape = shape_of(proto)
        values: NDArray[Any] = held_values(proto, shape, count)
    except ValueError as error:
        raise InvalidAnswer(f"'{output}' cannot be read: {error}") from error
    if len(shape) != 2 or shape[0] != 1 or len(values) < count:
        raise InvalidAnswer(
            f"expected '{output}' of shape [1, {count}] or wider, got {list(shape)} with {len(values)} values"
        )
    return values


def state_of(response: predict_pb2.PredictResponse, names: Collection[str]) -> dict[str, tensor_pb2.TensorProto]:
    """The tensors of a user's state, as they came.

    Raises:
        InvalidAnswer: when one of `names` is not there.
    """
    missing = sorted(name for name in names if name not in response.outputs)
    if missing:
        raise InvalidAnswer(f"the answer lacks {missing} of the user's state, it has {sorted(response.outputs)}")
    return {name: response.outputs[name] for name in names}


def check_origin(spec: predict_pb2.ModelSpec, model: str, asked: Selector) -> None:
    """Compares what answered with what was asked; a label and the newest version may be any number.

    Raises:
        InvalidAnswer: it is another model or version, or does not say which.
    """
    if spec.name != model:
        raise InvalidAnswer(f"the answer is of model '{spec.name}', asked was model '{model}'; is a proxy in between?")
    if asked.version is not None and spec.version.value != asked.version:
        answered = f"version {spec.version.value}" if spec.HasField("version") else "no version"
        raise InvalidAnswer(
            f"the answer names {answered} of model '{model}', asked was version {asked.version}; its scores would be "
            "another model's"
        )


def version_of(response: predict_pb2.PredictResponse) -> int:
    """The version that answered.

    Raises:
        InvalidAnswer: when the answer does not say.
    """
    if not response.model_spec.HasField("version"):
        raise InvalidAnswer("the answer names no version; expected an answer of TensorFlow Serving")
    return int(response.model_spec.version.value)
