"""Parts that models share, by NumPy from their weights alone, for one request or one pair at a time."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tests.dmf_keras.models.batches import small_model


def to_numpy(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def weighted_model(name: str, scale: float = 0.5, **params: Any) -> Any:
    """A small model whose weights are all drawn, biases and gains included."""
    model = small_model(params, name=name)
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=scale, size=weight.shape))
    return model


def dense(layer: keras.layers.Dense, rows: np.ndarray) -> np.ndarray:
    return rows @ to_numpy(layer.kernel) + (0 if layer.bias is None else to_numpy(layer.bias))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def ids(model: Any, index: np.ndarray) -> np.ndarray:
    """Embeddings of items, [..., d]."""
    return to_numpy(model.item_embedding.embeddings)[index]


def content(model: Any, rows: np.ndarray) -> np.ndarray:
    """Projected content of catalogue rows, modalities side by side, zeros where there is none."""
    parts = []
    for name, table in model.content.items():
        vectors, present = to_numpy(table.table).astype(np.float32), to_numpy(table.present)
        projected = dense(model.projections[name].dense, vectors[rows])
        parts.append(np.where(present[rows][..., None], projected, 0))
    return np.concatenate(parts, -1)


def joined(model: Any, index: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """x of items, [..., J]."""
    return np.concatenate([ids(model, index), content(model, rows)], -1)


def cosines(model: Any, row: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per modality the cosines [M, L] of a candidate and history items, and whether both have content."""
    found, known = [], []
    for table in model.content.values():
        vectors, present = to_numpy(table.table).astype(np.float32), to_numpy(table.present)
        known.append(present[row] & present[rows])
        found.append(np.where(known[-1], vectors[rows] @ vectors[row], 0))
    return np.array(found), np.array(known)


def histograms(model: Any, row: int, rows: np.ndarray) -> np.ndarray:
    """log(1 + count) of equal buckets, the missing one last, modalities side by side."""
    buckets = model.config.buckets
    counts = []
    for cosine, known in zip(*cosines(model, row, rows), strict=True):
        position = np.clip(np.floor((cosine + 1) / 2 * buckets), 0, buckets - 1)
        counts.append(np.bincount(np.where(known, position, buckets).astype(int), minlength=buckets + 1))
    return np.log1p(np.concatenate(counts))


def user_features(model: Any, x: dict[str, np.ndarray], b: int) -> np.ndarray:
    """Profile, context and user of `batches.SCHEMA`, in the head's order."""
    columns = [to_numpy(model.column_embeddings[name].embeddings)[x[name][b]] for name in ("gender", "hour")]
    user = to_numpy(model.user_embedding.embeddings)[x["user_index"][b]]
    return np.concatenate([*columns, user, [x["age"][b]], [x["price"][b]]])


def mlp_head(model: Any, read: np.ndarray) -> float:
    """The logit of user, item and pair side by side."""
    hidden = np.maximum(read @ to_numpy(model.head.kernel) + to_numpy(model.head.bias), 0)
    *middle, last = [layer for layer in model.head.tail if isinstance(layer, keras.layers.Dense)]
    for layer in middle:
        hidden = np.maximum(dense(layer, hidden), 0)
    return float(dense(last, hidden)[0])
