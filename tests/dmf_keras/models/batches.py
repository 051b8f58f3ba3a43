"""Random requests for tests of models."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from dmf_keras.models import ModalitySpec, RankingSchema, build_model, model_config

ITEMS = 40
SCHEMA = RankingSchema(
    item_rows=ITEMS,
    content_rows=ITEMS,
    modalities={"text": ModalitySpec(6), "image": ModalitySpec(5, "float32")},
    user_rows=20,
    categorical={"gender": 3, "hour": 24},
    numeric=("age", "price"),
    item_codes=(5, 5, 5),
    item_statistics=("impressions", "positives"),
)
SMALL = {"id_dim": 8, "attention_dim": 8, "interest_dim": 6, "branch_hidden": [6], "hidden_units": [8, 4], "buckets": 7}
SMALL |= {"activation_units": [6], "content_dim": 4, "recent": 3, "quadratic_layers": 2, "expert_units": [6]}
SMALL |= {"synergy_steps": 3, "cross_layers": 2, "dim": 64, "temperature": 1.0}
SMALL |= {"pair_rows": 20, "gate_units": 4, "bins": 4, "bin_dim": 3, "statistics": ["impressions", "positives"]}


def requests(batch: int, candidates: int, history: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of `SCHEMA`: padded histories, the last of several empty; a tenth of the items has no content."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, history + 1, batch) if history else np.zeros(batch, int)
    if batch > 1:
        lengths[-1] = 0
    index = rng.integers(1, ITEMS, (batch, history)) * (np.arange(history) < lengths[:, None])
    candidate = rng.integers(1, ITEMS, (batch, candidates))
    return {
        "history_index": index,
        "history_content_row": index * (rng.random(index.shape) < 0.9),
        "user_index": rng.integers(0, 20, batch),
        "gender": rng.integers(0, 3, batch),
        "hour": rng.integers(0, 24, batch),
        "age": rng.normal(size=batch).astype(np.float32),
        "price": rng.normal(size=batch).astype(np.float32),
        "candidate_index": candidate,
        "candidate_content_row": candidate * (rng.random(candidate.shape) < 0.9),
    }


def small_model(params=None, schema: RankingSchema = SCHEMA, seed: int = 0, name: str = "dmf"):
    """A small model, DMF unless another is named, with content where it uses any."""
    known = {field.name for field in fields(model_config(name, {}))}
    small = {key: value for key, value in SMALL.items() if key in known}
    model = build_model(name, {**small, **(params or {})}, schema, seed)
    rng = np.random.default_rng(seed)
    for layer in model.content.values():
        layer.set_rows(rng.normal(size=(layer.rows, layer.dim)))
    return with_item_tables(model)


def with_item_tables(model, seed: int = 0):
    """The model with codes of its items, of which a tenth has none, and with counts, where it reads them."""
    rng = np.random.default_rng(seed)
    if (layer := getattr(model, "semantic_ids", None)) is not None:
        codes = rng.integers(1, np.array(layer.sizes) + 1, (layer.rows, len(layer.sizes)))
        layer.set_rows(codes * (rng.random((layer.rows, 1)) < 0.9))
    if (layer := getattr(model, "item_statistics", None)) is not None:
        layer.set_rows({name: rng.integers(0, 200, layer.rows) for name in layer.names})
    return model
