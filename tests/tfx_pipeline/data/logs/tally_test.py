from __future__ import annotations

from tfx_pipeline.data.logs.tally import MergeTallies, Tally


def _tally(*events: tuple[str, int]) -> Tally:
    tally = Tally()
    for name, value in events:
        tally.add("seen", name)
        tally.range("value", name, low=value, high=value)
    return tally


def test_merging_equals_counting_at_once() -> None:
    events = [("a", 3), ("b", -1), ("a", 7), ("c", 0), ("a", -7)]
    merge = MergeTallies()
    accumulators = [merge.add_input(merge.create_accumulator(), _tally(event)) for event in events]
    merged = merge.extract_output(merge.merge_accumulators([merge.create_accumulator(), *accumulators]))
    assert merged == _tally(*events)
    assert merged.under("seen") == {"a": 3, "b": 1, "c": 1}
    assert (merged.smallest["value", "a"], merged.largest["value", "a"]) == (-7, 7)


def test_json_round_trip_and_nothing_for_zero() -> None:
    tally = _tally(("a", 2**60), ("ä", -5))
    tally.add("seen", "never", count=0)
    assert Tally.from_json(tally.to_json()) == tally
    assert "never" not in tally.under("seen")
