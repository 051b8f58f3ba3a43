"""Rows that cannot be used: never lost, never fatal one by one, counted by reason."""

from __future__ import annotations

import dataclasses
import heapq
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam

from tfx_pipeline.config.tables import Data, InteractionColumns
from tfx_pipeline.errors import DataError

# In the order in which a row's faults are looked for: a row is counted under the first.
REASONS = (
    "malformed",
    "not_utf8",
    "null_user",
    "no_impressions",
    "unequal_lists",
    "null_item",
    "bad_time",
    "negative_time",
    "time_out_of_range",
    "bad_label",
    "label_without_condition",
    "bad_weight",
    "bad_history",
)
# All bad rows are counted; this many, the first by file and row, are written with their values.
MAX_WRITTEN = 100_000
_SHOWN = 120
_OF_LABELS = ("bad_label", "label_without_condition")


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


@dataclasses.dataclass(frozen=True)
class Example:
    """A bad row to show: where it is, and what it has."""

    file: str
    row: int
    value: str


def examples(
    lines: Iterable[str], columns: InteractionColumns, further_labels: Collection[str] = ()
) -> dict[str, Example]:
    """The first row of each reason, of the lines of `quarantine.jsonl`; its value is that of the column at fault.

    Of several columns of labels all are shown, by name: `further_labels` has those beside the main one.
    """
    shown = (columns.item, columns.label, columns.weight)
    history = (columns.history.column, columns.history.times) if columns.history is not None else ()
    at_fault: dict[str, tuple[str | None, ...]] = {"null_user": (columns.user,), "unequal_lists": shown}
    at_fault |= dict.fromkeys(("no_impressions", "null_item"), (columns.item,))
    # Labels of pairs are in the column of items.
    labels = (columns.label, columns.item) if not further_labels else (columns.label, *further_labels)
    at_fault |= {"bad_weight": (columns.weight,), "bad_history": history} | dict.fromkeys(_OF_LABELS, labels)
    at_fault |= dict.fromkeys(("bad_time", "negative_time", "time_out_of_range"), (columns.time,))
    found: dict[str, Example] = {}
    for line in lines:
        row = json.loads(line)
        reason, given = row["reason"], row["values"]
        if reason not in found:
            value = given.get("text", given)
            if names := [name for name in at_fault.get(reason, ()) if name in given]:
                several = reason in ("unequal_lists", "bad_history") or (reason in _OF_LABELS and further_labels)
                value = {name: given[name] for name in names} if several else given[names[0]]
            found[reason] = Example(row["file"], row["row"], _shortened(value))
            if len(found) == len(REASONS):
                break
    return found


def check_bad_fraction(
    quarantined: Mapping[str, int], rows_read: int, data: Data, found: Mapping[str, Example]
) -> None:
    """Stops a run whose log is mostly unusable, or more so than the configuration tolerates.

    Args:
        quarantined: number of bad rows by reason.
        rows_read: all rows, good and bad.
        data: of the configuration.
        found: a row for each reason.

    Raises:
        DataError: the share of bad rows is above `data.max_bad_fraction`; with a line for each reason.
    """
    bad = sum(quarantined.values())
    if not rows_read or bad / rows_read <= data.max_bad_fraction:
        return
    lines = [
        f"{bad:,} of {rows_read:,} rows of the log cannot be used ({bad / rows_read:.2%}), more than "
        f"data.max_bad_fraction = {data.max_bad_fraction:g} allows:"
    ]
    raise DataError("\n".join([*lines, *faults(quarantined, data, found)]))


def faults(quarantined: Mapping[str, int], data: Data, found: Mapping[str, Example]) -> Iterator[str]:
    """A line for each reason: how many rows, one of them, and what would be accepted; see `check_bad_fraction`."""
    for reason in REASONS:
        if quarantined.get(reason):
            example = found.get(reason)
            seen = f", such as {example.value} in row {example.row} of {example.file}" if example else ""
            yield f"{reason} {quarantined[reason]:,}{seen}; {_wanted(reason, data)}"


def _wanted(reason: str, data: Data) -> str:
    """What would be accepted, or what to look at."""
    unit = data.interactions.time_unit
    return {
        "malformed": "expected a record with the columns of the header, or a JSON object of single values",
        "not_utf8": "expected UTF-8; another encoding is given by data.interactions.encoding",
        "null_user": "expected an id",
        "no_impressions": "expected a list of at least one item",
        "unequal_lists": "expected lists of one length: an item of the list, its label and what else it has",
        "null_item": "expected an id",
        "bad_time": f"data.interactions.time_unit is '{unit}', which takes {_TIMES.get(unit, 'text of that form')}",
        "negative_time": "expected a time after 1970",
        "time_out_of_range": f"outside data.earliest_time..latest_time; often a wrong unit: "
        f"data.interactions.time_unit is '{unit}', and s, ms, us and ns differ by 1000 each",
        "bad_label": "expected 0, 1, true or false; 0.0 and 1.00 will do" + _of_pairs(data),
        "label_without_condition": "an objective is 1 where the one that it is `given` is 0; see `objectives`",
        "bad_weight": "expected a number of at least 0",
        "bad_history": "expected ids and, where data.interactions.columns.history has times, as many times between "
        f"data.earliest_time and data.latest_time, written as time_unit '{unit}' says",
    }[reason]


def _of_pairs(data: Data) -> str:
    lists = data.interactions.impressions
    if lists is None or lists.label_separator is None:
        return ""
    return f", behind the last '{lists.label_separator}' of each value (data.interactions.impressions.label_separator)"


_NUMBER = "a number, for example 1700000000{}; text such as 2023-11-14T22:13:20Z takes time_unit: iso8601"
_TIMES = {
    "s": _NUMBER.format(""),
    "ms": _NUMBER.format("000"),
    "us": _NUMBER.format("000000"),
    "ns": _NUMBER.format("000000000"),
    "iso8601": "2023-11-14T22:13:20Z, with a space for T, with an offset such as +01:00, or with UTC behind it",
}


def _shortened(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
