"""Columns of the catalogue as tables by catalogue row: what `features.item` names, in the numbers a model looks up."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.config.item_columns import CategoricalItemColumn, ItemColumn, NumericItemColumn
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.several_values import in_lists
from tfx_pipeline.errors import DataError

_TEXT = pa.large_string()


@dataclass(frozen=True)
class ColumnCoverage:
    """What a column has, in numbers of items."""

    items: int
    """in the catalogue"""
    missing: int
    """without a value"""
    unknown: int = 0
    """of names: with one that is too rare for a row of its own"""
    cut: int = 0
    """of several names: with more than are kept"""
    no_number: int = 0
    """of numbers: with a text that is none; these are missing too"""


@dataclass(frozen=True, eq=False)
class ItemColumnTable:
    """One column of every item of the catalogue.

    Rows of the embedding: 0 is missing, 1 to len(`names`) the names or buckets, the last one all other names.
    """

    values: np.ndarray
    """int32 [items, width], 0 where there is no (further) value; or float32 [items], 0 where missing"""
    rows: int | None
    """of the embedding; None for a number"""
    names: tuple[str, ...]
    """of the rows from 1 on: the values themselves, or the borders of buckets; () for a number"""
    coverage: ColumnCoverage
    scale: tuple[float, float] | None = None
    """of a number: mean and deviation that it is scaled by; None of others, and where an earlier version wrote it"""

    @property
    def width(self) -> int:
        """Values that are kept of an item."""
        return 1 if self.values.ndim == 1 else int(self.values.shape[1])

    @cached_property
    def checksum(self) -> str:
        """sha256 of values, rows and names."""
        digest = hashlib.sha256(f"{self.values.dtype.str}{self.values.shape}{self.rows}".encode())
        digest.update("\n".join(self.names).encode())
        digest.update(np.ascontiguousarray(self.values).data)
        return digest.hexdigest()


def fits(column: ItemColumn, kind: pa.DataType) -> bool:
    """Whether a column of the catalogue may have this type."""
    if column.pattern is not None:
        return values.usable_as_id(kind)
    if isinstance(column, NumericItemColumn):
        return values.usable_as_number(kind)
    if column.multiple and values.is_list(kind):
        return values.usable_as_id(kind.value_type)
    return values.usable_as_id(kind)


def in_one_form(array: pa.Array, column: ItemColumn) -> tuple[pa.Array, int]:
    """A batch of a column as all files' batches are: float32, `large_string` or lists of it, null where missing.

    Returns:
        The values [n], and how many texts were no numbers.

    Raises:
        DataError: a text of several values, and no separator to tell them apart.
    """
    if column.pattern is not None:
        found = values.text(array).to_pandas().str.extract(column.pattern, expand=False)
        array = pa.array(found, _TEXT, from_pandas=True)
    if isinstance(column, NumericItemColumn):
        numbers, bad = values.numbers(array)
        return pa.array(numbers, pa.float32(), from_pandas=True), bad
    if not column.multiple:
        return values.text(array), 0
    return in_lists(array, column.separator), 0


def build_column(
    array: pa.Array, column: ItemColumn, no_number: int = 0, like: ItemColumnTable | None = None
) -> ItemColumnTable:
    """The table of a whole column.

    Args:
        array: all of it, as `in_one_form` gives batches.
        column: of the configuration.
        no_number: texts that were none.
        like: an earlier table of the same column, whose names, borders and scale are taken; None: those of `array`. An
            item may then have more names than any had, up to what the column keeps.

    Raises:
        DataError: `like` does not say how its numbers were scaled.
    """
    if isinstance(column, NumericItemColumn):
        return _numbers(array, column, no_number, like)
    return _names(array, column, like)


def _numbers(
    array: pa.Array, column: NumericItemColumn, no_number: int, like: ItemColumnTable | None
) -> ItemColumnTable:
    numbers = array.to_numpy(zero_copy_only=False).astype(np.float64)
    there = np.isfinite(numbers)
    coverage = ColumnCoverage(len(numbers), int((~there).sum()), no_number=no_number)
    known = numbers[there]
    if column.scaling == "quantiles":
        inner = np.arange(1, column.buckets) / column.buckets
        # Of many equal numbers borders coincide, and buckets between them would stay empty.
        borders = np.unique(np.quantile(known, inner)) if len(known) else np.zeros(0)
        if like is not None:
            borders = np.array([float(name) for name in like.names[1:]])
        ids = np.zeros((len(numbers), 1), np.int32)
        ids[there, 0] = np.searchsorted(borders, known, side="right") + 1
        lower = ["-inf", *(repr(float(border)) for border in borders)]
        return ItemColumnTable(ids, len(borders) + 2, tuple(lower), coverage)
    if column.scaling == "log":
        known = np.sign(known) * np.log1p(np.abs(known))
    scale = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
    if like is not None:
        if like.scale is None:
            raise DataError(
                "the numbers were scaled by a version that did not keep mean and deviation, so others cannot be scaled "
                "alike; train the model again: dmf run"
            )
        scale = like.scale
    mean, spread = scale
    scaled = np.zeros(len(numbers), np.float32)
    scaled[there] = (known - mean) / spread if spread > 0 else 0.0
    return ItemColumnTable(scaled, None, (), coverage, scale)


def _names(array: pa.Array, column: CategoricalItemColumn, like: ItemColumnTable | None) -> ItemColumnTable:
    items = len(array)
    if column.multiple:
        owner = pc.list_parent_indices(array).to_numpy()
        frame = pd.DataFrame({"item": owner, "name": array.flatten().to_pandas()})
    else:
        frame = pd.DataFrame({"item": np.arange(items), "name": array.to_pandas()})
    frame = frame[frame["name"].notna() & (frame["name"] != "")].drop_duplicates()
    names = _vocabulary(frame["name"], column) if like is None else like.names
    place = frame.groupby("item").cumcount().to_numpy()
    kept = place < column.width
    ids = pd.Index(names).get_indexer(frame["name"]) + 1
    ids[ids == 0] = len(names) + 1
    table = np.zeros((items, column.width), np.int32)
    table[frame["item"].to_numpy()[kept], place[kept]] = ids[kept]
    coverage = ColumnCoverage(
        items,
        missing=int((table[:, 0] == 0).sum()),
        unknown=int((table == len(names) + 1).any(axis=1).sum()),
        cut=int((place == column.width).sum()),
    )
    # No wider than an item needs: every candidate looks up all of it.
    widest = max(1, int((table != 0).sum(axis=1).max(initial=0)))
    return ItemColumnTable(table[:, :widest], len(names) + 2, tuple(names), coverage)


def _vocabulary(names: pd.Series, column: CategoricalItemColumn) -> Sequence[str]:
    counts = names.value_counts()
    counts = counts[counts >= column.min_count]
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [str(name) for name, _ in ordered[: column.max_size]]
