"""Decoupled target attention in its factored form: exact, and without a tensor per (candidate, history item, width)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from dmf_keras.ops.bucketing import flat_index, gather_by_index, sum_by_index
from dmf_keras.ops.masked import masked_logit, softmax
from dmf_keras.ops.shapes import rows
from dmf_keras.types import Tensor


def decoupled_attention(
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
    """Target attention whose keys and values carry an embedding of the bucket of each (candidate, history item) pair.

    With `b` the bucket of a pair and E_K, E_V the tables of a modality, summed over modalities:

        w_nj = softmax_j(q_n . (k_j + E_K[b_nj]) / sqrt(A)),    o_n = sum_j w_nj (v_j + E_V[b_nj])

    computed as q_n . k_j + (q_n E_K^T)[b_nj] and sum_j w_nj v_j + A_n E_V, where A_n is the sum of w_nj by bucket.
    The largest tensors are [B * H, N, L].

    Args:
        query: float [B, N, H, A].
        keys, values: float [B, L, H, A], finite on padding too.
        buckets: per modality int32 [B, N, L], ids in [0, S].
        key_tables, value_tables: per modality float [S + 1, H, A].
        history_mask: bool [B, L], false for padding.
        drop: applied to the weights, float32 [B, H, N, L], before they weigh anything; dropout is one.
        pair_mask: bool [B, N, L], false for pairs that have no weight; at least one pair of each candidate whose
            history is not empty. Absent: all have some.

    Returns:
        The interest float [B, N, H, A] in the dtype of `query`, all zeros for an empty history, and the weights
        float32 [B, H, N, L], exactly 0 on padding and as they were before `drop`.

    References:
        DMF, arXiv:2510.11066; the factored form is this library's.
    """
    dtype = query.dtype
    batch, candidates, heads, width = ops.shape(query)
    length = ops.shape(keys)[1]
    query = _heads_to_batch(query * (1.0 / math.sqrt(width)))
    mask = _repeat_heads(history_mask, heads)
    logits = ops.cast(_masked_products(query, _heads_to_batch(keys), mask), "float32")
    # One index into the flat [B * H * N * (S + 1)] tensors of a modality serves look-up and sum.
    indices = [
        flat_index(_repeat_heads(ids, heads), table.shape[0]) for ids, table in zip(buckets, key_tables, strict=True)
    ]
    for index, table in zip(indices, key_tables, strict=True):
        by_bucket = _matmul_per_head(query, table, transpose=True)
        logits = logits + gather_by_index(ops.cast(by_bucket, "float32"), index, length)
    if pair_mask is not None:
        logits = ops.where(_repeat_heads(pair_mask, heads), logits, masked_logit("float32"))
    weights = softmax(logits)
    all_heads = (batch, heads, candidates, length)
    kept = weights if drop is None else ops.reshape(drop(ops.reshape(weights, all_heads)), ops.shape(weights))
    interest = ops.matmul(ops.cast(kept, dtype), _heads_to_batch(values))
    for index, table in zip(indices, value_tables, strict=True):
        by_bucket = ops.cast(sum_by_index(kept, index, table.shape[0]), dtype)
        interest = interest + _matmul_per_head(by_bucket, table)
    # An empty history is zeros: said of the interest, and of the weights only where somebody asks for them.
    some = ops.cast(ops.any(ops.expand_dims(mask, 1), axis=-1, keepdims=True), "float32")
    interest, weights = interest * ops.cast(some, dtype), weights * some
    return _heads_from_batch(interest, heads), ops.reshape(weights, all_heads)


def _masked_products(query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
    """q . k [B * H, N, L], so low where masked that a softmax gives exact zeros.

    The mask is one more column of the product and not another pass over the result, which is the largest tensor here.
    """
    lowest = masked_logit(keras.backend.standardize_dtype(query.dtype))
    one = ops.ones_like(query[..., :1])
    penalty = ops.cast(ops.expand_dims(ops.where(mask, 0.0, lowest), -1), keys.dtype)
    query, keys = ops.concatenate([query, one], axis=-1), ops.concatenate([keys, penalty], axis=-1)
    return ops.matmul(query, ops.swapaxes(keys, 1, 2))


def _matmul_per_head(tensor: Tensor, table: Tensor, transpose: bool = False) -> Tensor:
    """[B * H, N, X] by what `table` [S, H, A] has for each row's head, [S, A] or its transpose: [B * H, N, Y]."""
    heads = table.shape[1]
    batch, items, width = ops.shape(tensor)
    if heads == 1:  # one product for the whole batch
        flat = ops.reshape(tensor, (-1, width))
        product = ops.matmul(flat, ops.transpose(table[:, 0]) if transpose else table[:, 0])
        return ops.reshape(product, (rows(batch), items, product.shape[-1]))
    matrices = ops.transpose(table, (1, 2, 0) if transpose else (1, 0, 2))
    tensor = ops.reshape(tensor, (rows(batch, over=heads), heads, items, width))
    return ops.reshape(ops.matmul(tensor, matrices), (rows(batch), items, matrices.shape[-1]))


def _heads_to_batch(tensor: Tensor) -> Tensor:
    """[B, I, H, A] to [B * H, I, A]: three dimensions are what batched products are fast in; one head moves nothing."""
    batch, items, heads, width = ops.shape(tensor)
    if heads > 1:
        tensor = ops.transpose(tensor, (0, 2, 1, 3))
    return ops.reshape(tensor, (rows(batch, heads), items, width))


def _heads_from_batch(tensor: Tensor, heads: int) -> Tensor:
    """Inverse of `_heads_to_batch`."""
    batch, items, width = ops.shape(tensor)
    if heads == 1:
        return ops.expand_dims(tensor, 2)
    return ops.transpose(ops.reshape(tensor, (rows(batch, over=heads), heads, items, width)), (0, 2, 1, 3))


def _repeat_heads(tensor: Tensor, heads: int) -> Tensor:
    """[B, ...] to [B * H, ...], the order of `_heads_to_batch`."""
    return ops.repeat(tensor, heads, axis=0) if heads > 1 else tensor
