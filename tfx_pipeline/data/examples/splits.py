"""Splits by time: train, then eval, then test; every request of one instant on the same side of a cut."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable

import apache_beam as beam
import numpy as np

from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.config.split import SplitDates, SplitFractions
from tfx_pipeline.data.logs.cleaning import microseconds

# Distinct instants with the number of rows of each; int64 [k] both, instants ascending.
Histogram = tuple[np.ndarray, np.ndarray]
# A cut is narrowed to its day, then its second, then its microsecond.
_WIDTHS_US = (86_400_000_000, 1_000_000, 1)
_MERGE_EVERY = 64


@dataclasses.dataclass(frozen=True)
class Cuts:
    """Eval begins at `eval_from_us`, test at `test_from_us` (microseconds since the epoch).

    Requests before `train_from_us`, where it is given, are of no split: their rows are history only.
    """

    eval_from_us: int
    test_from_us: int
    train_from_us: int | None = None

    @property
    def times(self) -> tuple[int, ...]:
        """All of them, ascending: no request goes over one."""
        first = () if self.train_from_us is None else (self.train_from_us,)
        return (*first, self.eval_from_us, self.test_from_us)

    def holds(self, time_us: int) -> bool:
        """Whether a request at that time is of a split."""
        return self.train_from_us is None or time_us >= self.train_from_us

    def split_of(self, time_us: int) -> str:
        """The split of a request at that time."""
        if time_us < self.eval_from_us:
            return SPLITS[0]
        return SPLITS[1] if time_us < self.test_from_us else SPLITS[2]

    @classmethod
    def from_dates(cls, dates: SplitDates) -> Cuts:
        """Cuts at the configured dates."""
        return cls(microseconds(dates.eval_from), microseconds(dates.test_from))

    def after(self, train_from: dt.datetime | None) -> Cuts:
        """The same, of the requests from a time on."""
        return dataclasses.replace(self, train_from_us=None if train_from is None else microseconds(train_from))


def histogram(values: np.ndarray) -> Histogram:
    """Distinct values, ascending, and their counts."""
    return np.unique(values, return_counts=True)


class QuantileCuts(beam.PTransform):
    """Histograms of impression times -> one `Cuts` at exact quantiles of the impressions.

    The cut for a share f of n impressions is the time of the impression of rank floor(f n) (from 0): at most that many
    are before it. Found in three passes that count by day, by second within the days of the cuts, and by microsecond
    within the seconds of the cuts: no accumulator holds more than 173,000 seconds or 2 million instants (32 MB),
    however long the log.
    """

    def __init__(self, fractions: SplitFractions) -> None:
        super().__init__()
        self._shares = (fractions.train, fractions.train + fractions.eval)

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:  # noqa: D102
        day, second, instant = _WIDTHS_US
        targets = (
            pcoll
            | "CountDays" >> beam.Map(_by_width, width=day)
            | "SumDays" >> beam.CombineGlobally(SumHistograms())
            | "FindDays" >> beam.Map(_first_targets, shares=self._shares)
        )
        for name, outer, inner in (("Seconds", day, second), ("Instants", second, instant)):
            counted = (
                pcoll
                | f"Count{name}" >> beam.Map(_within, beam.pvalue.AsSingleton(targets), outer=outer, inner=inner)
                | f"Sum{name}" >> beam.CombineGlobally(SumHistograms())
            )
            targets = counted | f"Find{name}" >> beam.Map(
                _next_targets, beam.pvalue.AsSingleton(targets), ratio=outer // inner
            )
        return targets | "Cuts" >> beam.Map(_cuts)


class SumHistograms(beam.CombineFn):
    """Histograms -> their sum."""

    def create_accumulator(self) -> list[Histogram]:  # noqa: D102
        return []

    def add_input(self, accumulator: list[Histogram], element: Histogram) -> list[Histogram]:  # noqa: D102
        accumulator.append(element)
        return [_sum(accumulator)] if len(accumulator) >= _MERGE_EVERY else accumulator

    def merge_accumulators(self, accumulators: Iterable[list[Histogram]]) -> list[Histogram]:  # noqa: D102
        return [_sum([part for accumulator in accumulators for part in accumulator])]

    def compact(self, accumulator: list[Histogram]) -> list[Histogram]:  # noqa: D102
        return [_sum(accumulator)]

    def extract_output(self, accumulator: list[Histogram]) -> Histogram:  # noqa: D102
        return _sum(accumulator)


# (bucket in which a cut lies, rank of the cut's impression among those of the bucket)
_Targets = list[tuple[int, int]]


def _sum(parts: list[Histogram]) -> Histogram:
    keys = np.concatenate([part[0] for part in parts] or [np.array([], np.int64)])
    counts = np.concatenate([part[1] for part in parts] or [np.array([], np.int64)])
    unique, place = np.unique(keys, return_inverse=True)
    summed = np.zeros(len(unique), np.int64)
    np.add.at(summed, place, counts)
    return unique, summed


def _by_width(times: Histogram, width: int) -> Histogram:
    return _sum([(times[0] // width, times[1])])


def _within(times: Histogram, targets: _Targets, outer: int, inner: int) -> Histogram:
    inside = np.isin(times[0] // outer, [bucket for bucket, _ in targets])
    return _sum([(times[0][inside] // inner, times[1][inside])])


def _first_targets(days: Histogram, shares: tuple[float, float]) -> _Targets:
    total = int(days[1].sum())
    if not total:
        return []
    # 0.8 + 0.1 is a little below 0.9: rounding to a millionth of an impression keeps the intended rank.
    ranks = (min(total - 1, math.floor(round(share * total, 6))) for share in shares)
    return [_locate(days, rank) for rank in ranks]


def _next_targets(inner: Histogram, targets: _Targets, ratio: int) -> _Targets:
    found = []
    for bucket, rank in targets:
        inside = inner[0] // ratio == bucket
        found.append(_locate((inner[0][inside], inner[1][inside]), rank))
    return found


def _locate(counted: Histogram, rank: int) -> tuple[int, int]:
    ends = np.cumsum(counted[1])
    place = int(np.searchsorted(ends, rank, side="right"))
    return int(counted[0][place]), rank - int(ends[place] - counted[1][place])


def _cuts(targets: _Targets) -> Cuts:
    # Without a single valid impression there is nothing to cut.
    return Cuts(*(time for time, _ in targets)) if targets else Cuts(0, 0)
