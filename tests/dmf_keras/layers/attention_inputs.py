"""Small attention layers of each kind and inputs for them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from dmf_keras.layers import DecoupledTargetAttention, EarlyFusionTargetAttention, TargetAttention

BUCKETS = 5
DIM = 8
KINDS = ("id_only", "decoupled", "early_fusion")


def make(kind: str, heads: int = 1, modalities: int = 2, **kwargs: Any) -> keras.layers.Layer:
    """A layer with different weights in every table, not built."""
    if kind == "id_only":
        return TargetAttention(DIM, heads, **kwargs)
    names = [f"m{m}" for m in range(modalities)]
    normal = keras.initializers.RandomNormal(stddev=0.5, seed=1)
    if kind == "decoupled":
        return DecoupledTargetAttention(DIM, heads, BUCKETS, names, embeddings_initializer=normal, **kwargs)
    return EarlyFusionTargetAttention(DIM, heads, BUCKETS, names, 3, embeddings_initializer=normal, **kwargs)


def inputs(
    kind: str, batch: int = 3, candidates: int = 4, history: int = 6, modalities: int = 2, seed: int = 0
) -> dict[str, np.ndarray]:
    """Arrays by name; histories of random lengths, the last of several empty."""
    rng = np.random.default_rng(seed)
    mask = np.arange(history) < rng.integers(1, history + 1, (batch, 1))
    if batch > 1:
        mask[-1] = False
    arrays = {
        "candidates": rng.normal(size=(batch, candidates, 7)).astype(np.float32),
        "history": rng.normal(size=(batch, history, 6)).astype(np.float32),
        "history_mask": mask,
    }
    for m in range(modalities if kind != "id_only" else 0):
        arrays[f"buckets{m}"] = rng.integers(0, BUCKETS + 1, (batch, candidates, history)).astype(np.int32)
    return arrays


def bucket_names(arrays: dict[str, Any]) -> list[str]:
    """Names of the bucket ids, in the order of modalities."""
    return sorted(name for name in arrays if name.startswith("buckets"))


def call(layer: keras.layers.Layer, arrays: dict[str, Any], **kwargs: Any) -> Any:
    """The layer on such arrays or tensors."""
    side = [[arrays[name] for name in bucket_names(arrays)]] if hasattr(layer, "modalities") else []
    return layer(arrays["candidates"], arrays["history"], *side, arrays["history_mask"], **kwargs)


def to_numpy(tensor: Any) -> np.ndarray:
    """As float32: NumPy's own functions know no bfloat16."""
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype(np.float32)


def projected(rows: np.ndarray, dense: keras.layers.Dense, heads: int) -> np.ndarray:
    """[..., D] times the kernel, plus the bias where there is one, as [..., H, A]."""
    bias = 0.0 if dense.bias is None else to_numpy(dense.bias)
    return (rows @ to_numpy(dense.kernel) + bias).reshape(*rows.shape[:-1], heads, -1)


def textbook(
    query: np.ndarray, keys: np.ndarray, values: np.ndarray, history_mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Interest [B, N, H * A] and weights [B, H, N, L] of a key and a value [B, N, L, H, A] per pair, one at a time."""
    batch, candidates, heads, width = query.shape
    interest, weights = np.zeros(query.shape), np.zeros((batch, heads, candidates, keys.shape[2]))
    for b, n, h in np.ndindex(batch, candidates, heads):
        kept = np.flatnonzero(history_mask[b])
        if kept.size:
            exponents = np.exp([query[b, n, h] @ keys[b, n, j, h] / np.sqrt(width) for j in kept])
            weights[b, h, n, kept] = exponents / exponents.sum()
            interest[b, n, h] = sum(weights[b, h, n, j] * values[b, n, j, h] for j in kept)
    return interest.reshape(batch, candidates, heads * width), weights
