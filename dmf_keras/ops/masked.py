"""The rules for padding and empty histories: what is masked may be anything, and a softmax over nothing is zeros."""

from __future__ import annotations

from keras import ops

from dmf_keras.types import Tensor


def masked_logit(dtype: str) -> float:
    """What a masked position adds to its logit, whatever that is, for a softmax in float32 to give an exact zero.

    Finite in `dtype`, so that an all-masked row has no inf - inf.
    """
    return -3e4 if dtype == "float16" else -1e30


def without_padding(tensor: Tensor, mask: Tensor) -> Tensor:
    """`tensor` [..., D] with zeros where `mask` bool [...] is false.

    Done before anything is multiplied: 0 times NaN or infinity is NaN, in value and in gradient.
    """
    return ops.where(ops.expand_dims(mask, -1), tensor, 0.0)


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis, of the positions where `mask` is true.

    Args:
        logits: float [..., L], finite. Computed in float32 whatever the dtype.
        mask: bool, broadcastable to `logits`.

    Returns:
        float32 [..., L]: exactly 0 where masked; rows sum to 1, or to 0 where everything is masked.
    """
    # Added and not chosen by the mask: float32 has nothing left of a logit beside it, and a sum is faster.
    weights = softmax(ops.cast(logits, "float32") + ops.where(mask, 0.0, masked_logit("float32")))
    return weights * ops.cast(ops.any(mask, axis=-1, keepdims=True), "float32")


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the last axis, also of one position, where Keras would warn that it must be a mistake."""
    return logits * 0.0 + 1.0 if logits.shape[-1] == 1 else ops.softmax(logits, axis=-1)


def masked_mean(values: Tensor, mask: Tensor, axis: int | tuple[int, ...]) -> Tensor:
    """Mean over `axis` of the vectors of `values` whose position is true in `mask`.

    Args:
        values: float [..., D]. Summed in float32 whatever the dtype; masked ones may be anything, NaN included.
        mask: bool, the shape of `values` without its last axis.
        axis: one or several axes of `mask`, counted from the front.

    Returns:
        float32, the shape of `values` without `axis`: zeros, in value and in gradient, where everything is masked.
    """
    kept = ops.expand_dims(mask, -1)
    total = ops.sum(ops.where(kept, ops.cast(values, "float32"), 0.0), axis=axis)
    return total / ops.maximum(ops.sum(ops.cast(kept, "float32"), axis=axis), 1.0)
