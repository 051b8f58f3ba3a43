"""Which history items are most similar to a candidate, as a mask of pairs.

Values and not places are compared: who is kept depends on no order, and items that are as similar as the last one kept
are kept too. No gradient passes.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from dmf_keras.types import Tensor

if keras.backend.backend() == "tensorflow":
    from dmf_keras.ops.tensorflow_kernels import nth_largest, only_if
else:
    from dmf_keras.ops.portable_kernels import nth_largest, only_if

# Beside cosines, which rounding may put a little beyond 1: of what is compared with nothing, and of padding.
_KNOWN, _UNKNOWN, _PADDING = 2.0, -2.0, -3.0


def most_similar(
    count: int,
    cosines: Sequence[Tensor],
    candidates_present: Sequence[Tensor],
    history_present: Sequence[Tensor],
    history_mask: Tensor,
) -> Tensor:
    """The `count` history items whose content is most similar to that of each candidate.

    The similarity of a pair is the mean of its cosines over the modalities that both sides have. A pair without such a
    modality comes after all others: a history item without content is kept where fewer than `count` have content, and
    a candidate without content keeps the whole history, as all its pairs are equal.

    Args:
        count: at least 1.
        cosines: per modality float32 [B, N, L], 0 where one side has no content.
        candidates_present: per modality bool [B, N].
        history_present: per modality bool [B, L].
        history_mask: bool [B, L], false for padding, of which nothing is kept.

    Returns:
        bool [B, N, L]: of each candidate as many as there are, at most `count` and those that equal the last of them.
        Of a history of `count` items or fewer, padding included, all but padding.
    """
    batch, candidates, length = ops.shape(cosines[0])
    real = ops.expand_dims(history_mask, 1)

    def cut() -> Tensor:
        similarity = _similarity(cosines, candidates_present, history_present, history_mask)
        last_kept = ops.expand_dims(nth_largest(ops.stop_gradient(similarity), count), -1)
        return ops.logical_and(similarity >= last_kept, real)

    return only_if(length > count, cut, lambda: ops.broadcast_to(real, (batch, candidates, length)))


def _similarity(
    cosines: Sequence[Tensor],
    candidates_present: Sequence[Tensor],
    history_present: Sequence[Tensor],
    history_mask: Tensor,
) -> Tensor:
    """What pairs are compared by, float32 [B, N, L]: the mean cosine, or less than any."""
    on_candidates, on_history = (
        ops.cast(ops.stack(list(present), axis=-1), "float32") for present in (candidates_present, history_present)
    )
    similarity = cosines[0]
    if len(cosines) > 1:
        known = ops.matmul(on_candidates, ops.swapaxes(on_history, 1, 2))
        total = sum(cosines[1:], start=similarity)
        similarity = ops.where(known > 0, total / ops.maximum(known, 1.0), _UNKNOWN)
    # Bounds from above of rows and of columns: two passes over the pairs, and no choice.
    of_candidate = ops.where(ops.any(on_candidates > 0, axis=-1), _KNOWN, _UNKNOWN)
    of_history = ops.where(ops.any(on_history > 0, axis=-1), _KNOWN, _UNKNOWN)
    of_history = ops.where(history_mask, of_history, _PADDING)
    similarity = ops.minimum(similarity, ops.expand_dims(of_candidate, 2))
    return ops.minimum(similarity, ops.expand_dims(of_history, 1))
