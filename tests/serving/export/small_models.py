"""Small models of the registry with a transform of given vocabularies, and requests to ask them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import tensorflow as tf

from dmf_keras.models import ModalitySpec, RankingSchema, build_model, model_config
from serving import contract

ITEMS = [f"i{number}" for number in range(1, 30)]
# The last of the catalogue are out of vocabulary: known by content alone.
TRAINED = ITEMS[:20]
SCHEMA = RankingSchema(
    item_rows=len(TRAINED) + 2,
    content_rows=len(ITEMS) + 1,
    modalities={"text": ModalitySpec(6), "image": ModalitySpec(5, "float32")},
    user_rows=4,
    categorical={"gender": 4},
    numeric=("age",),
    item_codes=(4, 4, 4),
    item_statistics=("impressions",),
)
SMALL = {
    "id_dim": 8,
    "feature_dim": 3,
    "hidden_units": [12, 6],
    "attention_dim": 8,
    "heads": 2,
    "activation_units": [7],
    "buckets": 9,
    "interest_dim": 6,
    "branch_hidden": [5],
    "similarity_dim": 3,
    "pair_rows": 10,
    "bins": 4,
    "bin_dim": 3,
}
NOBODY = {"user": "nobody", "history": [], "gender": "", "age": 0.0}
REQUESTS = [
    {"user": "u1", "history": ["i1", "i3", "i25"], "gender": "f", "age": 1.5, "candidates": ["i2", "i3", "i28", "new"]},
    {"user": "u2", "history": ["new", "i7", "i7", "i8", "i9"], "gender": "m", "age": -0.5, "candidates": ["i7"]},
    {**NOBODY, "candidates": ["i4", "i29"]},
]


class VocabularyTransform(tf.Module):
    """The `Transform` of `serving.export` with its vocabularies given, not learnt."""

    user_inputs = {"gender": "string", "age": "float32"}
    user_lists = ()
    candidate_inputs = {}
    history_ages = False
    further_histories: dict[str, int] = {}

    def __init__(self):
        super().__init__()
        self._index = _table(TRAINED, default=len(TRAINED) + 1)
        self._row = _table(ITEMS, default=0)
        self._user = _table(["u1", "u2"], default=3)
        self._gender = _table(["f", "m"], default=3)

    @property
    def trackables(self):
        return [self._index, self._row, self._user, self._gender]

    def user(self, raw):
        index, row = self._items(raw[contract.HISTORY_ITEM_ID])
        return {
            "history_index": index,
            "history_content_row": row,
            "user_index": _lookup(self._user, raw[contract.USER_ID]),
            "gender": _lookup(self._gender, raw["gender"]),
            "age": raw["age"],
        }

    def candidates(self, raw):
        index, row = self._items(raw[contract.CANDIDATE_ITEM_ID])
        return {"candidate_index": index, "candidate_content_row": row}

    def examples(self, serialized):
        spec = {name: tf.io.VarLenFeature(tf.string) for name in (contract.HISTORY_ITEM_ID, contract.CANDIDATE_ITEM_ID)}
        spec |= {name: tf.io.FixedLenFeature([], tf.string) for name in (contract.USER_ID, "gender")}
        parsed = tf.io.parse_example(serialized, spec | {"age": tf.io.FixedLenFeature([], tf.float32)})
        raw = {k: tf.sparse.to_dense(v, "") if isinstance(v, tf.SparseTensor) else v for k, v in parsed.items()}
        return {**self.user(raw), **self.candidates(raw)}

    def _items(self, ids):
        return _lookup(self._index, ids), _lookup(self._row, ids)


def _table(keys, default):
    rows = tf.range(1, len(keys) + 1, dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(keys), rows), default)


def _lookup(table, keys):
    return tf.cast(tf.where(keys == "", tf.zeros_like(keys, tf.int64), table.lookup(keys)), tf.int32)


def raw_requests() -> dict[str, np.ndarray]:
    """`REQUESTS` as one batch of the `rank` signature, padded."""

    def padded(name):
        width = max(len(request[name]) for request in REQUESTS)
        return np.array([request[name] + [""] * (width - len(request[name])) for request in REQUESTS], object)

    return {
        contract.USER_ID: np.array([request["user"] for request in REQUESTS], object),
        contract.HISTORY_ITEM_ID: padded("history"),
        contract.CANDIDATE_ITEM_ID: padded("candidates"),
        "gender": np.array([request["gender"] for request in REQUESTS], object),
        "age": np.array([request["age"] for request in REQUESTS], np.float32),
    }


def serialized(request) -> bytes:
    def strings(*values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode() for value in values]))

    feature = {
        contract.USER_ID: strings(request["user"]),
        contract.HISTORY_ITEM_ID: strings(*request["history"]),
        contract.CANDIDATE_ITEM_ID: strings(*request["candidates"]),
        "gender": strings(request["gender"]),
        "age": tf.train.Feature(float_list=tf.train.FloatList(value=[request["age"]])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def small_model(name: str, schema: RankingSchema = SCHEMA, params: Mapping[str, Any] | None = None):
    """A small model with content whose weights are large enough for scores to differ."""
    known = {field.name for field in fields(model_config(name, {}))}
    small = {key: value for key, value in SMALL.items() if key in known}
    model = build_model(name, {**small, **(params or {})}, schema, seed=3)
    rng = np.random.default_rng(3)
    # Quadratic layers square what they are given, layer by layer.
    scale = {"qin": 0.2, "diff_msin": 0.24}.get(name, 0.5)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=scale, size=weight.shape))
    for layer in model.content.values():
        matrix = rng.normal(size=(layer.rows, layer.dim))
        matrix[5] = 0
        layer.set_rows(matrix)
    if (layer := getattr(model, "semantic_ids", None)) is not None:
        layer.set_rows(rng.integers(1, 5, (layer.rows, 3)) * (np.arange(layer.rows) != 5)[:, None])
    if (layer := getattr(model, "item_statistics", None)) is not None:
        layer.set_rows({name: rng.integers(0, 99, layer.rows) for name in layer.names})
    return model
