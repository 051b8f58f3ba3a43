"""The content table of a finished model, made anew of the catalogue and the embeddings of today.

Nothing is fitted: projections, vocabularies, scaling and code books are those of the table that the model has.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.config.content import Content
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.build import build_modality
from tfx_pipeline.data.content.catalogue import ItemColumns, read_catalogue
from tfx_pipeline.data.content.codes import CodeTable, assign_codes, recounted
from tfx_pipeline.data.content.item_columns import ItemColumnTable
from tfx_pipeline.data.content.projection import projected_matrix
from tfx_pipeline.data.content.table import ContentMatrix, ItemContentTable
from tfx_pipeline.errors import ConfigError, DataError

# By how much a component of an equal vector may differ: two projections of it add up in another order.
_ROUNDING = {"float16": 1e-3, "float32": 1e-5}
_BLOCK = 65_536


@dataclass(frozen=True, eq=False)
class RefreshedContent:
    """A content table and how it differs from the one before.

    Attributes:
        table: items of the catalogue in its order, then those that are retired.
        new: ids that the catalogue did not have.
        changed: ids whose content, columns or codes are others.
        removed: ids that the catalogue had and has no more.
    """

    table: ItemContentTable
    new: list[str]
    changed: list[str]
    removed: list[str]

    @property
    def anything(self) -> bool:
        """Whether there is a difference; another order of the same items is none."""
        return bool(self.new or self.changed or self.removed)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Where the rows of the new table come from.

    Attributes:
        before: int [items], of each item of the catalogue its row in the table before; -1: it had none.
        retired: int, rows of the table before whose items the catalogue lacks.
    """

    before: np.ndarray
    retired: np.ndarray

    def taken_over(self, new: np.ndarray, old: np.ndarray, same: np.ndarray) -> np.ndarray:
        """The new rows, those of before where they are the `same`, and the retired ones behind them."""
        rows = np.array(new)
        rows[same] = old[self.before[same]]
        return np.concatenate([rows, old[self.retired]])


def refresh_content(
    items: ItemTable, content: Content, columns: ItemColumns, before: ItemContentTable
) -> RefreshedContent:
    """Reads the catalogue, its columns and the embeddings of the modalities that a model has.

    An item whose vectors are those that it had, up to rounding, keeps them bit for bit. Items that the catalogue has
    lost keep their rows, behind all others.

    Args:
        items: section `data.items` of the configuration.
        content: section `content`, which says where the embeddings lie.
        columns: section `features.item`, as the model was trained with it.
        before: the table that the model has.

    Raises:
        ConfigError: the configuration has not all of the model's modalities.
        DataError: files, columns, ids or embeddings that cannot be used, or not by this model.
    """
    catalogue = read_catalogue(items, columns, before.columns)
    matched = pc.index_in(catalogue.item_ids, value_set=pa.array(before.item_ids, pa.large_string()))
    known = pc.fill_null(matched, -1).to_numpy().astype(np.int64)
    left = np.ones(len(before.item_ids), bool)
    left[known[known >= 0]] = False
    rows = _Rows(known, np.flatnonzero(left))
    unchanged = known >= 0
    modalities, same_content = {}, {}
    for name, old in before.modalities.items():
        new = _matrix(name, old, content, catalogue.item_ids)
        same_content[name] = same = _same_vectors(new, old, known)
        modalities[name] = dataclasses.replace(
            new,
            vectors=rows.taken_over(new.vectors, old.vectors, same),
            present=rows.taken_over(new.present, old.present, same),
            encoder=new.encoder or old.encoder,
        )
        unchanged &= same
    tables = {}
    for name, column in before.columns.items():
        tables[name], same = _column(catalogue.columns[name], column, rows)
        unchanged &= same
    codes = None
    if before.codes is not None:
        codes = _codes(before.codes, modalities[before.codes.of], rows, same_content[before.codes.of])
    ids = np.array([*catalogue.item_ids.to_pylist(), *(before.item_ids[row] for row in rows.retired)], object)
    titles = catalogue.titles
    if titles is not None:
        titles = titles + [before.titles[row] if before.titles is not None else "" for row in rows.retired]
    table = ItemContentTable(ids.tolist(), modalities, titles, tables, codes, len(rows.retired))
    listed = len(before.item_ids) - before.retired
    in_catalogue = (known >= 0) & (known < listed)
    of_today = ids[: len(known)]
    return RefreshedContent(
        table,
        new=of_today[~in_catalogue].tolist(),
        changed=of_today[in_catalogue & ~unchanged].tolist(),
        removed=[before.item_ids[row] for row in rows.retired if row < listed],
    )


def _matrix(name: str, old: ContentMatrix, content: Content, item_ids: pa.Array) -> ContentMatrix:
    tuned = name in content.tuned
    source = content.tuned.get(name, name)
    if source not in content.modalities:
        there = ", ".join(content.names) or "none"
        raise ConfigError(
            f"content.modalities: the model has content '{name}', the configuration has {there}; name it as it was "
            "when the model was trained, or train another: dmf run"
        )
    modality = content.modalities[source].model_copy(update={"dim": None, "dtype": old.storage_dtype})
    # What was tuned was rounded before it was projected.
    like = dataclasses.replace(old, basis=None) if tuned else old
    new = build_modality(source, modality, item_ids, content.max_unknown_fraction, like)
    if old.encoder is not None and new.encoder is not None and old.encoder != new.encoder:
        raise DataError(
            f"content.modalities.{source}: vectors of {modality.path} are of the encoder {new.encoder}, those that the "
            f"model was trained on of {old.encoder}; encode by the same model and settings, or train it on these: "
            "dmf run"
        )
    return projected_matrix(new, old.basis) if tuned and old.basis is not None else new


def _same_vectors(new: ContentMatrix, old: ContentMatrix, before: np.ndarray) -> np.ndarray:
    """bool [items]: whether an item has the vector that it had, up to rounding, or has none as before."""
    same = before >= 0
    known = np.flatnonzero(same)
    for first in range(0, len(known), _BLOCK):
        here = known[first : first + _BLOCK]
        there = before[here]
        apart = np.abs(new.vectors[here].astype(np.float32) - old.vectors[there].astype(np.float32)).max(axis=1)
        same[here] = (new.present[here] == old.present[there]) & (apart <= _ROUNDING[str(old.vectors.dtype)])
    return same


def _column(new: ItemColumnTable, old: ItemColumnTable, rows: _Rows) -> tuple[ItemColumnTable, np.ndarray]:
    """The column with the retired rows, no narrower than before, and bool [items], whether an item has it as before."""
    values, earlier = new.values, np.asarray(old.values)
    if values.ndim == 2:
        width = max(new.width, old.width)
        values, earlier = (np.pad(each, ((0, 0), (0, width - each.shape[1]))) for each in (values, earlier))
    same = rows.before >= 0
    equal = values[same] == earlier[rows.before[same]]
    same[same] = equal if equal.ndim == 1 else equal.all(axis=1)
    return dataclasses.replace(new, values=rows.taken_over(values, earlier, same)), same


def _codes(old: CodeTable, matrix: ContentMatrix, rows: _Rows, same: np.ndarray) -> CodeTable:
    if old.centres is None:
        raise DataError(
            "content.codes: the model's codes were made by a version that did not keep their centres, so new items can "
            "have none; train the model again: dmf run"
        )
    values = np.zeros((len(same), old.values.shape[1]), np.int32)
    values[~same] = assign_codes(matrix.vectors[: len(same)][~same], matrix.present[: len(same)][~same], old.centres)
    return recounted(old, rows.taken_over(values, old.values, same))
