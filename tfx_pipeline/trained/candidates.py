"""Which items `dmf rank` ranks: ids out of a file, less what may not be shown."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.checks import check_columns
from tfx_pipeline.data.logs.files import LogFile, format_of, list_files
from tfx_pipeline.data.logs.reader import peek, read_file
from tfx_pipeline.errors import DataError
from tfx_pipeline.trained.version import Version

STDIN = Path("-")
_NAMED = 3


@dataclasses.dataclass(frozen=True)
class OnlyList:
    """What a list of items that may be shown did.

    Attributes:
        listed: distinct ids of the list.
        unknown: those of them that the catalogue lacks.
        unknown_items: the first three of these.
        left_out: candidates that the list lacks.
    """

    listed: int
    unknown: int
    unknown_items: list[str]
    left_out: int


@dataclasses.dataclass(frozen=True)
class Selection:
    """What is left of some candidates.

    Attributes:
        candidates: those to rank.
        excluded_seen: how many were left out as the user had them; None: that was not asked for.
        only: what the list of those that may be shown did; None: there is none.
    """

    candidates: list[str]
    excluded_seen: int | None
    only: OnlyList | None

    @property
    def notes(self) -> list[str]:
        """The same as sentences."""
        told = []
        if self.excluded_seen is not None:
            told.append(f"candidates left out, as the user had them already (--exclude-seen): {self.excluded_seen:,}")
        if self.only is not None:
            told.append(f"candidates left out, as the list of --only lacks them: {self.only.left_out:,}")
            if self.only.unknown:
                named = ", ".join(map(repr, self.only.unknown_items))
                more = ", ..." if self.only.unknown > len(self.only.unknown_items) else ""
                share = f"{self.only.unknown:,} of {self.only.listed:,}"
                told.append(f"ids of --only that the catalogue lacks: {share}, {named}{more}")
        return told


def select(
    version: Version, candidates: Sequence[str], *, only: Sequence[str] | None, seen: Collection[str] | None
) -> Selection:
    """Takes out of candidates what may not be shown.

    Args:
        version: whose catalogue it is.
        candidates: distinct item ids.
        only: ids of the items that may be shown; None: all may.
        seen: ids of the items that the user had already; None: they are not left out.

    Raises:
        DataError: no candidate is left.
        ModelError: the catalogue cannot be read.
    """
    left, listed = list(candidates), None
    if only is not None:
        distinct = dict.fromkeys(only)
        left = [item for item in left if item in distinct]
        catalogue = set(version.items())
        unknown = [item for item in distinct if item not in catalogue]
        listed = OnlyList(len(distinct), len(unknown), unknown[:_NAMED], len(candidates) - len(left))
    allowed = len(left)
    if seen is not None:
        had = set(seen)
        left = [item for item in left if item not in had]
    selection = Selection(left, None if seen is None else allowed - len(left), listed)
    if not left:
        reasons = "; ".join(selection.notes)
        raise DataError(
            f"of {len(candidates):,} candidates none is left to rank, and one at least is needed. {reasons}. "
            "Give other candidates, or leave an option out"
        )
    return selection


def read_item_ids(file: Path, version: Version) -> list[str]:
    """Item ids out of a file, in its order.

    Args:
        file: CSV, JSONL or Parquet by its ending, with a column of item ids; else text, an id a line; `-`: text on
            standard input.
        version: whose logs say what their columns of item ids are called.

    Raises:
        DataError: the file is not there, cannot be read, lacks such a column, or holds no id.
    """
    if file != STDIN and not file.is_file():
        raise DataError(f"{file}: no such file; expected item ids: {_EXPECTED}")
    table = file != STDIN and format_of(str(file)) is not None
    found = _column(file, item_column(file, version)) if table else _lines(file)
    if not found:
        raise DataError(f"{'standard input' if file == STDIN else file} holds no item id; expected {_EXPECTED}")
    return found


_EXPECTED = "one a line, or a column of them in a file that ends in .csv, .tsv, .jsonl or .parquet"


def _names(version: Version) -> list[str]:
    names = ["item_id"]
    try:
        data = version.ingestion().data
        names = [data.items.id_column, data.interactions.columns.item, *names]
    # Without its logs a model is ranked with all the same.
    except (OSError, ValueError):
        pass
    return list(dict.fromkeys(names))


def item_column(file: Path, version: Version) -> str:
    """The column of item ids of a table.

    Raises:
        DataError: there is none.
    """
    names, peeked = _names(version), peek(_source(file))
    name = next((name for name in names if name in peeked.columns), None)
    if name is None:
        expected, there = (", ".join(map(repr, some)) for some in (names, peeked.columns))
        raise DataError(
            f"{file}: no column of item ids; expected one of {expected}; columns there: {there or 'none'}. "
            "A list without a header ends in .txt"
        )
    return name


def _source(file: Path) -> LogFile:
    separator = "\t" if ".tsv" in file.suffixes else ","
    (source,) = list_files(ItemTable(path=file.absolute(), separator=separator))
    return source


def _column(file: Path, name: str) -> list[str]:
    source = _source(file)
    check_columns(source, peek(source), {name: values.usable_as_id}, [name])
    return [
        item for batch in read_file(source, [name]) for item in values.text(batch.columns[name]).drop_null().to_pylist()
    ]


def _lines(file: Path) -> list[str]:
    content = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{file}: line {line} is not UTF-8; expected item ids: {_EXPECTED}") from None
    return [line.strip() for line in lines if line.strip()]
