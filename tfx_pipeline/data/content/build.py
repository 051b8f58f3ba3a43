"""From catalogue and embedding files to one `ItemContentTable`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.contract import SHORTEST_PROJECTION
from tfx_pipeline.config.content import Content, Modality
from tfx_pipeline.config.encoders import in_pipeline
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.catalogue import ItemColumns, check_catalogue, read_catalogue
from tfx_pipeline.data.content.codes import check_size, fit_codes
from tfx_pipeline.data.content.embeddings import EmbeddingFile, open_embeddings
from tfx_pipeline.data.content.ids import check_ids
from tfx_pipeline.data.content.reduction import principal_directions
from tfx_pipeline.data.content.table import ContentMatrix, Coverage, ItemContentTable
from tfx_pipeline.errors import DataError

_NAMED_ITEMS = 10


def check_content_sources(config: PipelineConfig) -> None:
    """Looks at files, columns and widths of the catalogue and the embeddings, before any work.

    With `content.codes` ids of the embeddings too: there must be as many as codes. Files that the run itself encodes
    are not looked at.

    Raises:
        DataError: what is missing or does not fit, and what is there.
    """
    check_catalogue(config.data.items, config.features.item)
    codes = config.content.codes
    for name, modality in config.content.modalities.items():
        if name in in_pipeline(config.encoders):
            continue
        check_encoded(config, name)
        files = open_embeddings(name, modality)
        if codes is not None and codes.of == name:
            check_size(codes, sum(len(file.ids()) for file in files))


def check_encoded(config: PipelineConfig, name: str) -> None:
    """Raises DataError where `dmf encode` is to make the file of a modality and has not yet."""
    path = config.content.modalities[name].path
    if name in config.encoders and not path.exists():
        raise DataError(
            f"content.modalities.{name}.path: there is no file {path} yet; `dmf encode`, with the same configuration, "
            "makes it"
        )


def build_content(items: ItemTable, content: Content, columns: ItemColumns | None = None) -> ItemContentTable:
    """Reads the catalogue, its columns and every modality's embeddings; items keep the catalogue's order.

    Embeddings stream through in blocks (twice when they are reduced), so the memory needed is that of the resulting
    table plus the ids.

    Args:
        items: section `data.items` of the configuration.
        content: section `content`.
        columns: section `features.item`.

    Raises:
        DataError: files, columns, ids or embeddings that cannot be used, the item is named; or more codes than items
            with content.
    """
    catalogue = read_catalogue(items, columns)
    modalities = {
        name: build_modality(name, modality, catalogue.item_ids, content.max_unknown_fraction)
        for name, modality in content.modalities.items()
    }
    codes = None
    if content.codes is not None:
        matrix = modalities[content.codes.of]
        codes = fit_codes(matrix.vectors, matrix.present, content.codes)
    return ItemContentTable(catalogue.item_ids.to_pylist(), modalities, catalogue.titles, catalogue.columns, codes)


@dataclass(frozen=True)
class _Source:
    """An embedding file with its ids and, per row, the catalogue's row (-1: not in the catalogue)."""

    file: EmbeddingFile
    ids: pa.Array
    item_rows: np.ndarray

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Catalogue rows [n] and unit-length embeddings float32 [n, width] of known items with a non-zero embedding."""
        start = 0
        for block in self.file.blocks(self.ids):
            rows = self.item_rows[start : start + len(block)]
            start += len(block)
            usable = (rows >= 0) & block.any(axis=1)
            yield rows[usable], _unit(block if usable.all() else block[usable])


def _unit(rows: np.ndarray) -> np.ndarray:
    # By the largest component first: squares of very long or very short vectors leave float32's range.
    scale = np.maximum(rows.max(axis=1, keepdims=True), -rows.min(axis=1, keepdims=True))
    rows = rows / scale
    rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return rows


def build_modality(
    name: str,
    modality: Modality,
    item_ids: pa.Array,
    max_unknown_fraction: float,
    like: ContentMatrix | None = None,
) -> ContentMatrix:
    """Reads the embeddings of one modality.

    Args:
        name: of the modality.
        modality: where its embeddings lie, and what they become.
        item_ids: large_string [items], of the catalogue.
        max_unknown_fraction: share of embedded ids that the catalogue may lack.
        like: an earlier matrix of the same encoder, whose reduction is taken; None: one is fitted where `modality` has
            a `dim`.

    Raises:
        DataError: files, ids or embeddings that cannot be used, the item is named; or embeddings that are not as wide
            as those that `like` was made of.
    """
    key = f"content.modalities.{name}"
    files = open_embeddings(name, modality)
    source_width = next(file.width for file in files if file.width is not None)
    if like is not None and source_width != like.source_width:
        raise DataError(
            f"{key}: embeddings of {modality.path} are {source_width} wide, the model was trained on "
            f"{like.source_width}; give those of the same encoder, or train it on these: dmf run"
        )
    ids = [file.ids() for file in files]
    every_id = pa.concat_arrays(ids)
    check_ids(every_id, f"{key} ({modality.path})")
    item_rows = pc.fill_null(pc.index_in(every_id, value_set=item_ids), -1).to_numpy()
    unknown = int((item_rows < 0).sum())
    if unknown > max_unknown_fraction * len(every_id):
        example = every_id[int(np.argmax(item_rows < 0))].as_py()
        raise DataError(
            f"{key}: {unknown} of {len(every_id)} embedded items ({unknown / len(every_id):.2%}) are not in the "
            f"catalogue, for example '{example}'; content.max_unknown_fraction allows {max_unknown_fraction:.2%}. "
            f"Check that both files use the same ids; the catalogue's first is '{item_ids[0]}'"
        )
    ends = np.cumsum([len(part) for part in ids])[:-1]
    sources = [_Source(*parts) for parts in zip(files, ids, np.split(item_rows, ends), strict=True)]

    basis, explained = None, None
    if like is not None:
        basis, explained = like.basis, like.explained_variance
    elif modality.dim is not None and modality.dim < source_width:
        basis, explained = _fit(sources, source_width, modality.dim, key)
    width = source_width if basis is None else basis.shape[1]
    # int8 rows come with a scale each, which the model's table makes of float16 rows as well as of any other.
    vectors = np.zeros((len(item_ids), width), "float16" if modality.dtype == "int8" else modality.dtype)
    present = np.zeros(len(item_ids), bool)
    for source in sources:
        for rows, block in source.blocks():
            if basis is not None:
                block = block @ basis
                length = np.sqrt(np.einsum("nd,nd->n", block, block))
                kept = length > SHORTEST_PROJECTION
                rows, block = rows[kept], block[kept] / length[kept, None]
            vectors[rows] = block
            present[rows] = True
    found = int(present.sum())
    without = np.setdiff1d(item_rows[item_rows >= 0], np.flatnonzero(present))
    coverage = Coverage(
        items=len(item_ids),
        present=found,
        missing=len(item_ids) - found,
        zero_vectors=len(every_id) - unknown - found,
        unknown_ids=unknown,
        zero_vector_items=tuple(item_ids.take(pa.array(without[:_NAMED_ITEMS])).to_pylist()),
    )
    return ContentMatrix(
        vectors=vectors,
        present=present,
        storage_dtype=modality.dtype,
        source=", ".join(file.file.name for file in files),
        source_width=source_width,
        basis=basis,
        explained_variance=explained,
        coverage=coverage,
        encoder=" ".join(sorted({file.encoder for file in files if file.encoder is not None})) or None,
    )


def _fit(sources: list[_Source], width: int, dim: int, key: str) -> tuple[np.ndarray, float]:
    moment, count = np.zeros((width, width)), 0
    for source in sources:
        for rows, block in source.blocks():
            moment += block.T @ block
            count += len(rows)
    if count < dim:
        raise DataError(
            f"{key}.dim: {dim} directions cannot be fitted on {count} items of the catalogue with an embedding; "
            f"give at most {count}, or leave dim out to keep the width of {width}"
        )
    return principal_directions(moment / count, dim)
