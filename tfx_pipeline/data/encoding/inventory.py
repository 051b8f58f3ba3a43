"""What vectors of items there are, read from the files that the configuration names, without a run of the pipeline."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.config.encoders import Encoder, ImageEncoder, TextEncoder
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.spelling import did_you_mean
from tfx_pipeline.data.content.build import build_modality, check_encoded
from tfx_pipeline.data.content.catalogue import Catalogue, read_catalogue
from tfx_pipeline.data.content.embeddings import open_embeddings, reading_embeddings
from tfx_pipeline.data.content.table import ContentMatrix
from tfx_pipeline.data.encoding.encode import onnx_encoder
from tfx_pipeline.data.encoding.ngrams import Ngrams
from tfx_pipeline.data.encoding.texts import text_contents, text_items
from tfx_pipeline.data.encoding.vector_file import SOURCE
from tfx_pipeline.errors import ConfigError, DataError
from tfx_pipeline.files.json_record import JsonRecord


@dataclass(frozen=True)
class StoredModality(JsonRecord):
    """The vectors of one modality.

    Attributes:
        name: of the modality.
        path: of its files.
        made_by: kind of the encoder of `encoders`; "" of vectors that came ready-made.
        encoder: digest of what made the vectors; None where the files do not say, or are not there.
        configured: digest of the encoder that the configuration has; None of ready-made vectors, of an encoder that is
            trained first, and where it cannot be loaded here.
        there: whether there is a file.
        width: of the vectors as the encoder gave them; None without a file.
        dim: that the pipeline reduces them to; None: it does not.
        vectors: rows of the files.
        covered: items of the catalogue with a vector that has a direction.
        items: of the catalogue.
        unknown: vectors of ids that the catalogue lacks.
        to_encode: items with a text of which the configured encoder has made no vector: new ones, those whose text has
            changed, and after an exchange of the encoder all of them; None where only encoding says it. Where
            `configured` is not known, the encoder of the file is taken for it.
        bytes: of the files.
        written: ISO 8601 in UTC, when the newest file was; None without a file.
    """

    name: str
    path: str
    made_by: str
    encoder: str | None
    configured: str | None
    there: bool
    width: int | None
    dim: int | None
    vectors: int
    covered: int
    items: int
    unknown: int
    to_encode: int | None
    bytes: int
    written: str | None

    @property
    def exchanged(self) -> bool:
        """Whether another encoder is configured than the one that made the vectors."""
        return None not in (self.encoder, self.configured) and self.encoder != self.configured


@dataclass(frozen=True)
class NearItem(JsonRecord):
    """An item with the cosine of its vector to that of another."""

    item: str
    title: str
    cosine: float


@dataclass(frozen=True)
class ItemVectors(JsonRecord):
    """What there is of one item.

    Attributes:
        item, title: of the catalogue; "" without titles.
        nearest: by modality the items with the nearest vectors; None where the item has no vector.
    """

    item: str
    title: str
    nearest: dict[str, tuple[NearItem, ...] | None]


def stored_modalities(config: PipelineConfig) -> list[StoredModality]:
    """What lies there of each modality, in the order of the configuration.

    Raises:
        DataError: the catalogue or a file cannot be used, an item is named.
    """
    catalogue = read_catalogue(config.data.items)
    return [_stored(config, name, catalogue) for name in config.content.modalities]


def show_items(config: PipelineConfig, items: Sequence[str], neighbours: int) -> list[ItemVectors]:
    """The nearest items of some, by each modality at the width of its encoder.

    Args:
        config: the validated configuration.
        items: ids.
        neighbours: how many, at most.

    Raises:
        DataError: an id that the catalogue lacks, or a file that is not there or cannot be used.
    """
    for name in config.content.modalities:
        check_encoded(config, name)
    catalogue = read_catalogue(config.data.items)
    ids = catalogue.item_ids.to_pylist()
    rows = {item: row for row, item in enumerate(ids)}
    if unknown := [item for item in items if item not in rows]:
        meant = did_you_mean(unknown[0], ids) if len(ids) <= 10_000 else ""
        raise DataError(f"no item '{unknown[0]}' in {config.data.items.path}{f'; {meant}' if meant else ''}")
    titles = catalogue.titles or [""] * len(ids)
    matrices = {name: _matrix(config, name, catalogue.item_ids) for name in config.content.modalities}
    return [
        ItemVectors(
            item,
            titles[rows[item]],
            {
                name: _nearest(matrix, rows[item], ids, titles, neighbours) if matrix.present[rows[item]] else None
                for name, matrix in matrices.items()
            },
        )
        for item in items
    ]


def _stored(config: PipelineConfig, name: str, catalogue: Catalogue) -> StoredModality:
    modality, encoder = config.content.modalities[name], config.encoders.get(name)
    there = encoder is None or modality.path.exists()
    files = open_embeddings(name, modality) if there else []
    matrix = _matrix(config, name, catalogue.item_ids) if there else None
    states = [file.file.stat() for file in files]
    written = max((state.st_mtime for state in states), default=None)
    digests = sorted({file.encoder for file in files if file.encoder is not None})
    configured = None if encoder is None else _digest(name, encoder)
    return StoredModality(
        name=name,
        path=str(modality.path),
        made_by="" if encoder is None else encoder.kind,
        encoder=" ".join(digests) or None,
        configured=configured,
        there=there,
        width=None if matrix is None else matrix.source_width,
        dim=modality.dim,
        vectors=sum(file.rows for file in files),
        covered=0 if matrix is None else matrix.coverage.present,
        items=len(catalogue.item_ids),
        unknown=0 if matrix is None else matrix.coverage.unknown_ids,
        to_encode=None if encoder is None else _to_encode(config, name, encoder, digests, configured),
        bytes=sum(state.st_size for state in states),
        written=None if written is None else dt.datetime.fromtimestamp(written, dt.UTC).isoformat(timespec="seconds"),
    )


def _digest(name: str, encoder: Encoder) -> str | None:
    """Of the encoder as it is configured; None where only a training gives it, or it cannot be loaded here."""
    try:
        return onnx_encoder(name, encoder).digest if isinstance(encoder, ImageEncoder | TextEncoder) else None
    except ConfigError:
        # The vectors are there all the same; `dmf encode` says what is wrong.
        return None


def _to_encode(
    config: PipelineConfig, name: str, encoder: Encoder, digests: Sequence[str], configured: str | None
) -> int | None:
    """Items with a text that the configured encoder, or else that of the file, has made no vector of."""
    if isinstance(encoder, ImageEncoder) or len(digests) > 1:
        return None
    usable = (lambda text: bool(Ngrams.words(text))) if encoder.kind == "keras" else bool
    items = text_items(name, config.data.items, encoder.columns, usable)
    if not digests:
        return len(items.ids)
    modality = config.content.modalities[name]
    with (
        reading_embeddings(f"content.modalities.{name}", modality.path),
        pq.ParquetFile(modality.path, page_checksum_verification=True) as opened,
    ):
        table = opened.read([modality.id_column, SOURCE])
        made = set(zip(*(table[column].to_pylist() for column in (modality.id_column, SOURCE)), strict=True))
    contents = text_contents(items, configured or digests[0])
    return sum(pair not in made for pair in zip(contents.ids, contents.sources, strict=True))


def _matrix(config: PipelineConfig, name: str, item_ids: pa.Array) -> ContentMatrix:
    modality = config.content.modalities[name]
    # What else lies in a file is counted, and no reason to refuse it here.
    return build_modality(name, modality.model_copy(update={"dim": None, "dtype": "float32"}), item_ids, 1.0)


def _nearest(
    matrix: ContentMatrix, row: int, ids: Sequence[str], titles: Sequence[str], count: int
) -> tuple[NearItem, ...]:
    cosines = np.where(matrix.present, matrix.vectors @ matrix.vectors[row], -np.inf)
    cosines[row] = -np.inf
    order = np.argsort(-cosines, kind="stable")[: min(count, int(matrix.present.sum()) - 1)]
    return tuple(NearItem(ids[place], titles[place], float(cosines[place])) for place in order)
