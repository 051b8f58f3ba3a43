"""From a server's answer to scores and states: pure functions, shared by every transport."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving import contract
from serving.client.errors import InvalidAnswer
from serving.client.tensors import to_array
from serving.protos import predict_pb2


def scores_of(response: predict_pb2.PredictResponse, count: int) -> NDArray[np.float32]:
    """The scores of `count` candidates, float32 [count].

    An answer may be wider: a server that batches pads a request to the longest of its batch. The padding is cut off.

    Raises:
        InvalidAnswer: without scores, with fewer than `count`, or with one that is not finite.
    """
    if contract.SCORE not in response.outputs:
        raise InvalidAnswer(f"the answer has no '{contract.SCORE}', it has {sorted(response.outputs)}")
    try:
        array = to_array(response.outputs[contract.SCORE])
    except ValueError as error:
        raise InvalidAnswer(f"the scores cannot be read: {error}") from error
    if array.dtype.kind != "f" or array.ndim != 2 or array.shape[0] != 1 or array.shape[1] < count:
        raise InvalidAnswer(
            f"expected float scores of shape [1, {count}] or wider, got {array.dtype} {list(array.shape)}"
        )
    scores = array[0, :count].astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise InvalidAnswer(f"{bad.size} of {count} scores are not finite, the first is that of candidate {bad[0]}")
    return scores


def version_of(response: predict_pb2.PredictResponse) -> int:
    """The version that answered.

    Raises:
        InvalidAnswer: when the answer does not say.
    """
    if not response.model_spec.HasField("version"):
        raise InvalidAnswer("the answer names no version; expected an answer of TensorFlow Serving")
    return int(response.model_spec.version.value)
