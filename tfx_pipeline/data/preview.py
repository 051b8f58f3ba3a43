"""A look at the data before any run: the first rows of the log as they are read, and whether ids meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.tables import Table
from tfx_pipeline.data.content.build import check_content_sources
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.checks import check_sources
from tfx_pipeline.data.logs.cleaning import CleanBatch, Cleaned, clean
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.id_forms import describe_mismatch
from tfx_pipeline.data.logs.quarantine import check_bad_fraction, examples
from tfx_pipeline.data.logs.reader import log_batches, pieces, read_piece
from tfx_pipeline.errors import DataError

_SHOWN_ROWS = 10
_SHOWN_IDS = 50


@dataclass(frozen=True)
class PreviewRow:
    """An impression of the log as it was read; `time` is ISO 8601 in UTC.

    `history`: how many events the log gives before it; None where it gives none.
    """

    user: str
    item: str
    time: str
    label: int
    history: int | None = None


@dataclass(frozen=True)
class Preview:
    """What was seen of the data.

    Attributes:
        files: of the log.
        rows: of the log that were read: those of one batch of its first file that has any.
        usable: those of them that are good.
        impressions: of these, where a row is a list of impressions; None where it is one.
        first: the first of them.
        unknown_items, unknown_users: shares of the impressions whose item the catalogue lacks, and whose user the user
            table lacks; None where there is no such table.
    """

    files: int
    rows: int
    usable: int
    impressions: int | None
    first: list[PreviewRow]
    unknown_items: float
    unknown_users: float | None


def preview(config: PipelineConfig) -> Preview:
    """Looks at all files' headers, reads one batch of the log, and the ids of catalogue and user table.

    Raises:
        DataError: what a run would refuse after minutes: files, columns, too many bad rows, ids that do not meet.
    """
    check_sources(config)
    check_content_sources(config)
    ingestion = IngestionConfig.of(config)
    files, data = list_files(config.data.interactions), config.data
    rows, cleaned = _first_batch(ingestion)
    bad = sum(cleaned.bad_counts.values())
    lines = (row.to_json() for row in cleaned.bad_rows)
    check_bad_fraction(
        cleaned.bad_counts, rows, data, examples(lines, data.interactions.columns, ingestion.label_columns)
    )
    good = cleaned.good
    unknown_items = _unknown(good.item, data.items, data.items.id_column, "the catalogue", data.max_unknown_items)
    unknown_users = None
    if data.users is not None:
        limit = data.max_unmatched_profiles
        unknown_users = _unknown(good.user, data.users, data.users.id_column, "the user table", limit)
    impressions = len(good.row) if data.interactions.impressions is not None else None
    return Preview(len(files), rows, rows - bad, impressions, list(_shown(good)), unknown_items, unknown_users)


def _first_batch(config: IngestionConfig) -> tuple[int, Cleaned]:
    for file in list_files(config.data.interactions):
        for batch in log_batches(file, config.data.interactions, config.log_columns, config.log_lists):
            if batch.size:
                return batch.size, clean(batch, file, config)
    raise DataError(f"data.interactions: no rows in {config.data.interactions.path}; expected at least one")


def _shown(good: CleanBatch) -> Iterator[PreviewRow]:
    times = np.datetime_as_string(good.time_us[:_SHOWN_ROWS].astype("datetime64[us]"), unit="s")
    for row, time in enumerate(times.tolist()):
        user, item = (column[row].as_py().decode() for column in (good.user, good.item))
        history = int(good.history.lengths[good.history.of[row]]) if good.history is not None else None
        yield PreviewRow(user, item, f"{time}Z", int(good.label[row]), history)


def _unknown(seen: pa.Array, table: Table, column: str, name: str, limit: float) -> float:
    """Share of the log's ids that a table lacks."""
    texts = seen.cast(pa.large_string())
    known = pa.chunked_array(list(_ids(table, column)), pa.large_string())
    lacking = pc.invert(pc.is_in(texts, value_set=known.combine_chunks()))
    share = pc.mean(lacking).as_py() or 0.0
    if share > limit:
        left, right = sorted(set(texts.filter(lacking).to_pylist())), sorted(set(known[: 1 << 16].to_pylist()) - {None})
        mismatch = describe_mismatch(left[:_SHOWN_IDS], "the log", right[:_SHOWN_IDS], name)
        raise DataError(f"{share:.1%} of the rows read are of ids that {name} lacks, more than {limit:g}: {mismatch}")
    return float(share)


def _ids(table: Table, column: str) -> Iterator[pa.Array]:
    for file in list_files(table):
        for piece in pieces(file):
            for batch in read_piece(piece, [column]):
                yield values.text(batch.columns[column])
