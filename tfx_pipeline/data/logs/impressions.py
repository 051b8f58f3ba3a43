"""What a row of the log shows, one impression or a list of them, and the history that it gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

import numpy as np
import pyarrow as pa

from tfx_pipeline.config.log_lists import GivenHistory
from tfx_pipeline.config.tables import Interactions
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.cells import Cells, cells, split_pairs

# By column: in whose context its values are converted, as `refusing_column` is one.
Refusing = Callable[[str], AbstractContextManager[None]]


@dataclasses.dataclass
class Shown:
    """The impressions of a batch of n rows, m in all.

    Attributes:
        row: int64 [m], ascending: the place of each impression's row; None: each row is one.
        item: m ids as `large_string`, null where there is none.
        not_utf8: bool [m], of the ids.
        label, labelled: int8 and bool [m]: whether there is a label.
        weight: float32 [m], where the log has them.
        beside: what else the log says of each impression, m values a column, as the file has them.
        none, unequal: bool [n]: rows without any impression, and rows whose lists are not of one length.
    """

    row: np.ndarray | None
    item: pa.Array
    not_utf8: np.ndarray
    label: np.ndarray
    labelled: np.ndarray
    weight: np.ndarray | None
    beside: dict[str, pa.Array]
    none: np.ndarray
    unequal: np.ndarray

    def any_of_row(self, flags: np.ndarray) -> np.ndarray:
        """bool [m] -> bool [n]: whether an impression of the row has the flag."""
        if self.row is None:
            return flags
        found = np.zeros(len(self.none), bool)
        found[self.row[flags]] = True
        return found


def shown(
    columns: dict[str, pa.Array], interactions: Interactions, refusing: Refusing, beside: Collection[str] = ()
) -> Shown:
    """The impressions of a batch. Without a column of labels in the configuration each is a positive; without the one
    that there should be, as in a log to be scored, each has label 0.

    Args:
        columns: of the batch; those of `interactions.of_impressions` and `beside` are looked at.
        interactions: the section of the configuration.
        refusing: names the column that cannot be read.
        beside: other columns that say something of an impression, not of a row.
    """
    names, lists = interactions.columns, interactions.impressions
    own = {name: columns[name] for name in (*interactions.of_impressions, *beside) if name in columns}
    size = len(columns[names.user])
    taken: Cells | None = None
    with refusing(names.item):
        if lists is not None:
            taken = cells(own, lists.separator)
            own = taken.columns
        raw = own[names.item]
        item = values.text(raw)
        not_utf8 = values.not_utf8(raw, item)
        given = own.get(names.label) if names.label is not None else None
        if lists is not None and lists.label_separator is not None:
            item, given = split_pairs(item, lists.label_separator)
    label, labelled = np.full(len(item), names.label is None, np.int8), np.ones(len(item), bool)
    if given is not None:
        with refusing(names.label or names.item):
            label, labelled = values.labels(given)
    weight = None
    if names.weight is not None:
        with refusing(names.weight):
            weight, _ = values.numbers(own[names.weight])
    further = {name: own[name] for name in beside if name in own}
    if taken is None:
        absent = np.zeros(size, bool)
        return Shown(None, item, not_utf8, label, labelled, weight, further, absent, absent)
    none = ~taken.unequal
    none[taken.row] = False
    return Shown(taken.row, item, not_utf8, label, labelled, weight, further, none, taken.unequal)


@dataclasses.dataclass
class Histories:
    """Histories that the log gives, of k rows, end to end, each oldest first.

    Attributes:
        of: int64 [n]: for each of the n impressions of these rows, which of the k histories is its own.
        lengths: int64 [k].
        item: UTF-8 bytes as `large_binary`, as many as the sum of lengths.
        time_us: int64, as many: when these events were; None where the log does not say.
    """

    of: np.ndarray
    lengths: np.ndarray
    item: pa.Array
    time_us: np.ndarray | None


@dataclasses.dataclass
class RawHistories:
    """The histories of a batch of n rows, good and bad.

    Attributes:
        row: int64 [m], ascending: the place of each event's row.
        item: m ids as `large_string`. `time_us`: int64 [m] or None.
        not_utf8: bool [n], whether a row has ids that are not.
        bad: bool [n], whether a row has an event without an id or with an impossible time, or lists of two lengths.
    """

    row: np.ndarray
    item: pa.Array
    time_us: np.ndarray | None
    not_utf8: np.ndarray
    bad: np.ndarray

    def of_rows(self, good: np.ndarray, of: np.ndarray) -> Histories:
        """Those of the rows for which `good`, bool [n], is true; see `Histories` for `of`."""
        kept = good[self.row]
        return Histories(
            of=of,
            lengths=np.bincount(self.row[kept], minlength=len(good))[good],
            item=self.item.filter(pa.array(kept)).cast(pa.large_binary()),
            time_us=self.time_us[kept] if self.time_us is not None else None,
        )


def given_histories(
    columns: dict[str, pa.Array], interactions: Interactions, given: GivenHistory, earliest: int, latest: int
) -> RawHistories:
    """The histories of a batch, each oldest first.

    Args:
        columns: of the batch; those of `interactions.of_history` are looked at.
        interactions: the section of the configuration.
        given: its part about histories.
        earliest, latest: microseconds, of an event.
    """
    taken = cells({name: columns[name] for name in interactions.of_history}, given.separator)
    raw = taken.columns[given.column]
    item = values.text(raw)
    bad, time_us = item.is_null().to_numpy(zero_copy_only=False), None
    if given.times is not None:
        time_us, valid = values.times(taken.columns[given.times], interactions.time_unit)
        bad = bad | ~valid | (time_us < earliest) | (time_us > latest)
    not_utf8, bad = taken.any_of_row(values.not_utf8(raw, item)), taken.any_of_row(bad) | taken.unequal
    order = np.arange(len(item))
    if given.order == "newest_first":
        # Of rows end to end: the last of all comes first, and then rows go back to their order.
        order = order[::-1]
        order = order[np.argsort(taken.row[order], kind="stable")]
    if time_us is not None:
        order = order[np.lexsort((time_us[order], taken.row[order]))]
        time_us = time_us[order]
    return RawHistories(taken.row, item.take(pa.array(order)), time_us, not_utf8, bad)
