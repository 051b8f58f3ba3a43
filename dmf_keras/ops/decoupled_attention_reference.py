"""Decoupled target attention as the paper writes it: what the factored form is checked and timed against."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from keras import ops

from dmf_keras.ops.masked import masked_softmax
from dmf_keras.types import Tensor


def decoupled_attention_reference(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    buckets: Sequence[Tensor],
    key_tables: Sequence[Tensor],
    value_tables: Sequence[Tensor],
    history_mask: Tensor,
    drop: Callable[[Tensor], Tensor] | None = None,
    pair_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As `decoupled_attention`, with a key and a value per pair: memory grows with [B, N, L, H, A]."""
    pair_keys = ops.expand_dims(keys, 1)
    pair_values = ops.expand_dims(values, 1)
    for ids, key_table, value_table in zip(buckets, key_tables, value_tables, strict=True):
        pair_keys = pair_keys + ops.take(key_table, ids, axis=0)
        pair_values = pair_values + ops.take(value_table, ids, axis=0)
    logits = ops.sum(ops.expand_dims(query, 2) * pair_keys, axis=-1) / math.sqrt(query.shape[3])
    mask = ops.expand_dims(history_mask, (1, 2))
    if pair_mask is not None:
        mask = ops.logical_and(mask, ops.expand_dims(pair_mask, 1))
    weights = masked_softmax(ops.transpose(logits, (0, 3, 1, 2)), mask)
    kept = weights if drop is None else drop(weights)
    per_pair = ops.expand_dims(ops.cast(ops.transpose(kept, (0, 2, 3, 1)), query.dtype), -1)
    return ops.sum(per_pair * pair_values, axis=2), weights
