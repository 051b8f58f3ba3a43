from __future__ import annotations

import math
from fractions import Fraction

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfx_pipeline.config.split import SplitDates, SplitFractions
from tfx_pipeline.data.examples import splits
from tfx_pipeline.data.examples.splits import Cuts, QuantileCuts, SumHistograms, histogram

DAY = 86_400_000_000


def test_split_of_is_closed_at_the_cut() -> None:
    cuts = Cuts(10, 20)
    assert [cuts.split_of(t) for t in (9, 10, 19, 20)] == ["train", "eval", "eval", "test"]


def test_dates_are_utc_microseconds() -> None:
    dates = SplitDates.model_validate({"eval_from": "2023-11-12T01:00:00+01:00", "test_from": "2023-11-13"})
    assert Cuts.from_dates(dates) == Cuts(1_699_747_200_000_000, 1_699_833_600_000_000)


def test_pipeline_finds_exact_quantiles_over_many_batches() -> None:
    rng = np.random.default_rng(0)
    times = rng.integers(1_600_000_000_000_000, 1_600_000_000_000_000 + 40 * DAY, 5_000)
    # A burst within one second, across the first cut, so that all three passes matter.
    burst = np.sort(times)[3_990] // 10**6 * 10**6
    times = np.concatenate([times, burst + rng.integers(0, 10**6, 500)])
    ordered = np.sort(times)
    batches = [part.tolist() for part in np.array_split(times, 100)]
    with beam.Pipeline() as pipeline:
        cuts = (
            pipeline
            | beam.Create([histogram(np.array(batch)) for batch in batches])
            | QuantileCuts(SplitFractions(train=0.75, eval=0.15, test=0.1))
        )
        assert_that(cuts, equal_to([Cuts(int(ordered[4_125]), int(ordered[4_950]))]))


def _by_hand(times: list[int], shares: tuple[Fraction, Fraction]) -> Cuts:
    ordered = sorted(times)
    return Cuts(*(ordered[min(len(ordered) - 1, math.floor(share * len(ordered)))] for share in shares))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    times=st.lists(st.integers(0, 3 * DAY) | st.sampled_from([7, DAY, DAY + 1, 2 * DAY]), min_size=1, max_size=60),
    parts=st.integers(1, 5),
)
def test_three_passes_equal_sorting(times: list[int], parts: int) -> None:
    # The functions that the transform strings together, without a runner: hundreds of cases in seconds.
    pieces = [histogram(np.array(times[start::parts], dtype=np.int64)) for start in range(parts)]

    def combined(parts_: list[splits.Histogram]) -> splits.Histogram:
        sums = SumHistograms()
        accumulators = [sums.add_input(sums.create_accumulator(), part) for part in parts_]
        return sums.extract_output(sums.merge_accumulators(accumulators))

    day, second, instant = splits._WIDTHS_US
    targets = splits._first_targets(combined([splits._by_width(p, day) for p in pieces]), (0.8, 0.8 + 0.1))
    for outer, inner in ((day, second), (second, instant)):
        counted = combined([splits._within(p, targets, outer, inner) for p in pieces])
        targets = splits._next_targets(counted, targets, outer // inner)
    assert splits._cuts(targets) == _by_hand(times, (Fraction(8, 10), Fraction(9, 10)))


def test_no_impressions_give_one_harmless_cut() -> None:
    with beam.Pipeline() as pipeline:
        cuts = pipeline | beam.Create([]) | QuantileCuts(SplitFractions())
        assert_that(cuts, equal_to([Cuts(0, 0)]))


@pytest.mark.parametrize("rows", [10, 100, 1_000, 903_826])
def test_ranks_do_not_suffer_from_floats(rows: int) -> None:
    day = histogram(np.zeros(1, np.int64))[0], np.array([rows])
    assert [rank for _, rank in splits._first_targets(day, (0.8, 0.8 + 0.1))] == [rows * 8 // 10, rows * 9 // 10]
