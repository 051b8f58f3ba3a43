"""What the Evaluator needs to know of items, written by the trainer beside the model it belongs to.

`<saved_model>/assets.extra/item_facts.parquet` has a row per item, `slices.json` beside it the borders of the slices
as they were configured for this model. Both travel with the model: evaluating it again later slices the same way.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.files.addresses import Address, join
from tfx_pipeline.files.reading import exists, read_bytes, read_text
from tfx_pipeline.files.writing import write_text, writing

_FOLDER = "assets.extra"
_FACTS_FILE = "item_facts.parquet"
_SLICES_FILE = "slices.json"
_SLICE_KEYS = {"rare_below", "head_from", "history_edges"}


class ItemFacts(NamedTuple):
    """Facts about the items of one model; an item it does not know has 0 impressions and no content.

    Attributes:
        item_ids: index of UTF-8 bytes [I], unique.
        train_impressions: int64 [I], impressions in the train split.
        has_content: bool [I], whether the item has at least one modality.
        evaluation: the borders of the slices; its thresholds are defaults and mean nothing here.
    """

    item_ids: pd.Index
    train_impressions: np.ndarray
    has_content: np.ndarray
    evaluation: Evaluation

    @classmethod
    def of(
        cls, item_ids: Iterable[str], impressions: np.ndarray, has_content: np.ndarray, evaluation: Evaluation
    ) -> Self:
        """Of items by their ids as text; the arrays are `train_impressions` and `has_content`."""
        return cls(pd.Index([item.encode() for item in item_ids], dtype=object), impressions, has_content, evaluation)

    def look_up(self, item_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Facts of candidates.

        Args:
            item_ids: bytes objects [n], repeats allowed.

        Returns:
            Train impressions int64 [n] and has-content bool [n].
        """
        rows = self.item_ids.get_indexer(item_ids)
        known = rows >= 0
        impressions = np.zeros(len(rows), np.int64)
        impressions[known] = self.train_impressions[rows[known]]
        has_content = np.zeros(len(rows), bool)
        has_content[known] = self.has_content[rows[known]]
        return impressions, has_content


def write_item_facts(
    model_dir: Address,
    item_ids: Sequence[str],
    train_impressions: Sequence[int] | np.ndarray,
    has_content: Sequence[bool] | np.ndarray,
    evaluation: Evaluation,
) -> None:
    """Writes the facts of all items, and the borders of the slices, into a SavedModel's `assets.extra`.

    Args:
        model_dir: the SavedModel's folder.
        item_ids: raw ids [I], unique; items of the train split and of the catalogue.
        train_impressions: impressions of each in the train split [I], 0 for an item never shown.
        has_content: whether each has at least one modality [I].
        evaluation: of the configuration.

    Raises:
        DataError: lengths that differ, an id given twice, or a negative count.
    """
    impressions, content = np.asarray(train_impressions, np.int64), np.asarray(has_content, bool)
    ids = pd.Index(item_ids, dtype=object)
    if not len(ids) == len(impressions) == len(content):
        raise DataError(
            f"item facts want one entry per item, got {len(ids)} ids, {len(impressions)} impression counts"
            f" and {len(content)} content marks"
        )
    if not ids.is_unique:
        raise DataError(f"item facts want each item once, got '{ids[ids.duplicated()][0]}' more than once")
    if (impressions < 0).any():
        item = int(np.flatnonzero(impressions < 0)[0])
        raise DataError(f"item '{ids[item]}' has {impressions[item]} train impressions; expected 0 or more")
    table = pa.table(
        {
            "item_id": pa.array(ids, pa.string()),
            "train_impressions": pa.array(impressions),
            "has_content": pa.array(content),
        }
    )
    with writing(join(model_dir, _FOLDER, _FACTS_FILE)) as file:
        pq.write_table(table, file)
    slices = evaluation.model_dump_json(include=_SLICE_KEYS, indent=1)
    write_text(join(model_dir, _FOLDER, _SLICES_FILE), slices)


def read_item_facts(model_dir: Address) -> ItemFacts:
    """Reads what `write_item_facts` wrote.

    Raises:
        ModelError: the model has no item facts.
    """
    require_item_facts(model_dir)
    # As bytes: read by name, a folder called `key=value` above the file would become a column.
    table = pq.read_table(io.BytesIO(read_bytes(join(model_dir, _FOLDER, _FACTS_FILE))))
    evaluation = Evaluation.model_validate_json(read_text(join(model_dir, _FOLDER, _SLICES_FILE)))
    return ItemFacts(
        item_ids=pd.Index(table["item_id"].cast(pa.binary()).to_numpy(), dtype=object),
        train_impressions=table["train_impressions"].to_numpy(),
        has_content=table["has_content"].to_numpy(),
        evaluation=evaluation,
    )


def require_item_facts(model_dir: Address) -> None:
    """Raises `ModelError` unless the model has both files."""
    for name in (_FACTS_FILE, _SLICES_FILE):
        path = join(model_dir, _FOLDER, name)
        if not exists(path):
            raise ModelError(f"{path} is absent: the Evaluator slices by it; train the model with this pipeline again")
