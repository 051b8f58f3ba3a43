"""IDs that training shows as out of vocabulary, so that the rest of a model learns to do without them."""

from __future__ import annotations

import keras
from keras import ops

from dmf_keras.types import Tensor


def some_unknown(index: Tensor, share: float, rows: int, draws: keras.random.SeedGenerator) -> Tensor:
    """The same rows of an embedding, some of them the last one, which is that of unknown IDs where these have one row.

    Args:
        index: int32 of any shape; 0 is padding and stays.
        share: of the IDs, from 0 to 1, each drawn by itself.
        rows: of the embedding.
        draws: what is drawn with.
    """
    drawn = ops.logical_and(keras.random.uniform(ops.shape(index), seed=draws) < share, index > 0)
    return ops.where(drawn, ops.cast(rows - 1, index.dtype), index)
