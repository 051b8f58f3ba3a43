"""Rows that cannot be used: never lost, never fatal one by one, counted by reason."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import apache_beam as beam

from tfx_pipeline.errors import DataError

# In the order in which a row's faults are looked for: a row is counted under the first.
REASONS = (
    "malformed",
    "null_user",
    "null_item",
    "bad_time",
    "negative_time",
    "time_out_of_range",
    "bad_label",
)
# All bad rows are counted; this many, the first by file and row, are written with their values.
MAX_WRITTEN = 100_000


class BadRow(NamedTuple):
    """A row of the log that is not used. `row` is 1-based; `values`: the columns read, or the text if malformed."""

    ordinal: int
    row: int
    file: str
    reason: str
    values: dict[str, Any]

    def to_json(self) -> str:
        """One line of `quarantine.jsonl`."""
        record = {"file": self.file, "row": self.row, "reason": self.reason, "values": self.values}
        return json.dumps(record, ensure_ascii=False, default=str)


class FirstBadRows(beam.CombineFn):
    """Lists of bad rows -> the first `MAX_WRITTEN` by file and row, sorted. Memory is bounded by that number."""

    def __init__(self, limit: int = MAX_WRITTEN) -> None:
        self._limit = limit

    def create_accumulator(self) -> list[BadRow]:  # noqa: D102
        return []

    def add_input(self, accumulator: list[BadRow], element: list[BadRow]) -> list[BadRow]:  # noqa: D102
        accumulator.extend(element)
        return self._cut(accumulator) if len(accumulator) > 2 * self._limit else accumulator

    def merge_accumulators(self, accumulators: Iterable[list[BadRow]]) -> list[BadRow]:  # noqa: D102
        merged: list[BadRow] = []
        for accumulator in accumulators:
            merged = self.add_input(merged, accumulator)
        return merged

    def extract_output(self, accumulator: list[BadRow]) -> list[BadRow]:  # noqa: D102
        return self._cut(accumulator)

    def _cut(self, rows: list[BadRow]) -> list[BadRow]:
        return heapq.nsmallest(self._limit, rows, key=lambda bad: (bad.ordinal, bad.row))


def check_bad_fraction(
    quarantined: Mapping[str, int], rows_read: int, max_fraction: float, time_unit: str, example_time: str | None
) -> None:
    """Stops a run whose log is mostly unusable, or more so than the configuration tolerates.

    Args:
        quarantined: number of bad rows by reason.
        rows_read: all rows, good and bad.
        max_fraction: `data.max_bad_fraction`.
        time_unit: `data.interactions.time_unit`, for the hint.
        example_time: a time value of a row that was out of range, if there is one.

    Raises:
        DataError: the share of bad rows is above `max_fraction`.
    """
    bad = sum(quarantined.values())
    if not rows_read or bad / rows_read <= max_fraction:
        return
    by_reason = ", ".join(f"{reason} {quarantined[reason]:,}" for reason in REASONS if quarantined.get(reason))
    message = (
        f"{bad:,} of {rows_read:,} rows of the log cannot be used ({bad / rows_read:.2%}), more than "
        f"data.max_bad_fraction = {max_fraction:g} allows: {by_reason}"
    )
    if quarantined.get("time_out_of_range"):
        example = f" (for example {example_time})" if example_time is not None else ""
        message += (
            f"\nTimes outside data.earliest_time..latest_time{example} are often a wrong unit: "
            f"data.interactions.time_unit is '{time_unit}'; s, ms, us and ns differ by 1000 each"
        )
    raise DataError(message)
