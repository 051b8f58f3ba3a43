"""Histories that the log gives: brought to their user, and what of one was known at a moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tfx_pipeline.config.schema import History
from tfx_pipeline.data.logs.impressions import Histories

# Of n impressions, of k rows of the log: int64 [n], which history is that of each; int64 [k], lengths of the histories;
# ids of all of them, end to end; and int64, as many times, or None where the log does not say.
HistoryTuple = tuple[bytes, bytes, list[bytes], bytes | None]


class GivenHistory(NamedTuple):
    """Items, oldest first, and when these events were: int64 microseconds, or None where the log does not say."""

    items: list[bytes]
    time_us: np.ndarray | None

    def known_at(self, time_us: int, history: History) -> GivenHistory:
        """The most recent events of it that the ranker could have known of a request at that time."""
        items, times = self
        if times is not None:
            known = int(np.searchsorted(times, min(time_us - 1, time_us - history.delay_us), side="right"))
            items, times = items[:known], times[:known]
        first = max(0, len(items) - history.max_length)
        return GivenHistory(items[first:], times[first:] if times is not None else None)


@dataclasses.dataclass
class GivenHistories:
    """Of one user's n rows.

    Attributes:
        of: int64 [n]: which history is that of each row.
        ends: int64 [k + 1], ascending from 0: where each history ends, and the next one begins.
        items: ids, end to end, each history oldest first.
        time_us: int64, as many, or None.
    """

    of: np.ndarray
    ends: np.ndarray
    items: list[bytes]
    time_us: np.ndarray | None

    @classmethod
    def joined(cls, parts: Sequence[HistoryTuple], order: np.ndarray) -> GivenHistories | None:
        """Those of several chunks, whose rows lie end to end and are to be put into `order`; None of none."""
        if not parts:
            return None
        lengths = [np.frombuffer(part[1], np.int64) for part in parts]
        before = np.cumsum([0, *(len(part) for part in lengths[:-1])])
        of = np.concatenate([np.frombuffer(part[0], np.int64) + add for part, add in zip(parts, before, strict=True)])
        times = [np.frombuffer(part[3], np.int64) for part in parts if part[3] is not None]
        return cls(
            of[order],
            np.concatenate([[0], np.cumsum(np.concatenate(lengths))]),
            [item for part in parts for item in part[2]],
            np.concatenate(times) if times else None,
        )

    def at(self, row: int) -> GivenHistory:
        """All that the log gives in a row."""
        start, end = self.ends[self.of[row]], self.ends[self.of[row] + 1]
        return GivenHistory(self.items[start:end], self.time_us[start:end] if self.time_us is not None else None)

    def before(self, times: np.ndarray) -> Iterator[tuple[int, list[bytes]]]:
        """Of each history, the time of its first row and the items that the user had by then.

        Args:
            times: int64 [n] microseconds of the rows, ascending.
        """
        for row in np.unique(self.of, return_index=True)[1].tolist():
            items, moments = self.at(row)
            known = len(items) if moments is None else int(np.searchsorted(moments, times[row]))
            yield int(times[row]), items[:known]


def histories_by_user(histories: Histories, order: np.ndarray) -> Callable[[int, int], HistoryTuple]:
    """Histories of a batch, cut by user.

    Args:
        histories: of a batch of n impressions.
        order: int64 [n]: brings the impressions of a user together, and leaves those of a row together.

    Returns:
        A function of two places in `order`, where a user begins and ends: the histories of the user's rows.
    """
    # Everything in the order of users at once; then each user's is a slice.
    of = histories.of[order]
    begins = np.diff(of, prepend=-1) != 0
    rank = np.cumsum(begins) - 1
    rows = of[begins]
    lengths = histories.lengths[rows]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    starts = (np.cumsum(histories.lengths) - histories.lengths)[rows]
    places = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], lengths)
    items = histories.item.take(pa.array(places)).to_pylist()
    times = histories.time_us[places] if histories.time_us is not None else None

    def of_user(start: int, end: int) -> HistoryTuple:
        first, last = int(rank[start]), int(rank[end - 1]) + 1
        own = slice(int(ends[first]), int(ends[last]))
        return (
            (rank[start:end] - first).tobytes(),
            lengths[first:last].tobytes(),
            items[own],
            times[own].tobytes() if times is not None else None,
        )

    return of_user
