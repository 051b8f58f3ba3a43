"""Tables of a model that are facts about items and not learnt: they are filled, and can be filled anew."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.errors import ModelError
from tfx_pipeline.training.model_schema import content_rows, item_code_rows, item_column_rows

_DIGITS = 16


def fill_tables(model: RankingModel, content: ItemContentTable) -> None:
    """Writes vectors, columns and codes of items into a model, as far as it has places for them."""
    for modality, layer in model.content.items():
        layer.set_rows(*content_rows(content, modality))
    # A model of somebody's own need not have a place for them.
    columns = getattr(model, "item_columns", None)
    if columns is not None:
        columns.set_rows(item_column_rows(content))
    semantic_ids = getattr(model, "semantic_ids", None)
    if semantic_ids is not None and content.codes is not None:
        semantic_ids.set_rows(item_code_rows(content.codes))


def item_tables(model: RankingModel) -> list[Any]:
    """The weights that are such tables."""
    others = (getattr(model, name, None) for name in ("item_columns", "item_statistics", "semantic_ids"))
    layers = [*model.content.values(), *(layer for layer in others if layer is not None)]
    return [weight for layer in layers for weight in layer.non_trainable_weights]


def learnt_weights(model: RankingModel) -> list[Any]:
    """All other weights, in the model's order."""
    tables = {id(weight) for weight in item_tables(model)}
    return [weight for weight in model.weights if id(weight) not in tables]


def weights_digest(model: RankingModel) -> str:
    """16 hex digits of the weights that are no tables of items: their types, shapes and bits."""
    digest = hashlib.sha256()
    for weight in learnt_weights(model):
        values = weight.numpy()
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:_DIGITS]


def with_tables(model: RankingModel, content: ItemContentTable, item_ids: Sequence[str]) -> RankingModel:
    """An equal model whose tables of items have other rows; the weights are copied bit for bit.

    Counts of train go with the items; one that had none in the model has counts of 0.

    Args:
        model: trained.
        content: what its tables are to hold.
        item_ids: of the rows of the model's present tables, from row 1 on.

    Raises:
        ModelError: the copy has other weights.
    """
    columns = {
        name: dataclasses.replace(spec, width=max(spec.width, content.columns[name].width))
        for name, spec in model.schema.item_columns.items()
    }
    schema = dataclasses.replace(model.schema, content_rows=1 + len(content.item_ids), item_columns=columns)
    copy = type(model).from_config({**model.get_config(), "schema": schema.to_dict()})
    for mine, other in zip(learnt_weights(model), learnt_weights(copy), strict=True):
        other.assign(mine)
    fill_tables(copy, content)
    counts = getattr(model, "item_statistics", None)
    if counts is not None:
        of_items = {item: row for row, item in enumerate(item_ids, 1)}
        # Row 0 is that of an item outside the catalogue, whose counts are 0.
        rows = [0, *(of_items.get(item, 0) for item in content.item_ids)]
        copy.item_statistics.table.assign(counts.table.numpy()[rows])
    if weights_digest(copy) != weights_digest(model):
        raise ModelError("the model's weights could not be copied bit for bit; nothing was made of it")
    return copy
