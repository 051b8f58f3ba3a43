from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_pipeline.data.logs import values

HUGE = 2**63 - 1
NOON = dt.datetime(2023, 11, 12, 12, 0, 0, 123456, tzinfo=dt.UTC)
NOON_US = 1_699_790_400_123_456


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["a", "", None, "é"]), ["a", None, None, "é"]),
        (pa.array([12, None, -3]), ["12", None, "-3"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([12.0, 12.5, float("nan"), None]), ["12", "12.5", None, None]),
        (pa.array([b"a", b"\xff", None]), ["a", "\\xff", None]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([Decimal("1.50")]), ["1.50"]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_text(array: pa.Array, expected: list) -> None:
    assert values.text(array).to_pylist() == expected


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("as_text", [False, True])
def test_integer_times_are_exact(unit: str, per_second: int, as_text: bool) -> None:
    # 2**53 + 1 is the first integer that a float would change.
    given_values = [1_700_000_001 * per_second, 2**53 + 1, 0, -1]
    array = pa.array([str(v) for v in given_values]) if as_text else pa.array(given_values)
    microseconds, valid = values.times(array, unit)
    assert microseconds.dtype == np.int64
    expected = [v * 10**6 // per_second for v in given_values]
    expected = [max(-HUGE, min(HUGE, v)) for v in expected]
    # What does not fit saturates, which every range check refuses.
    np.testing.assert_array_equal(np.clip(microseconds, -(10**18), 10**18), np.clip(expected, -(10**18), 10**18))
    assert valid.all()


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["s", "ms", "us", "ns"]))
def test_text_and_integer_columns_agree(value: int, unit: str) -> None:
    fast, _ = values.times(pa.array([value], pa.int64()), unit)
    # The stray value makes the whole batch take the slow way.
    slow, valid = values.times(pa.array([str(value), "stray"]), unit)
    assert valid.tolist() == [True, False]
    exact = value * {"s": 10**6, "ms": 10**3, "us": 1, "ns": 1}[unit] // (1000 if unit == "ns" else 1)
    for got in (int(fast[0]), int(slow[0])):
        assert got == exact if abs(exact) < 9 * 10**18 else abs(got) > 9 * 10**18


def test_float_times_are_rounded_to_microseconds() -> None:
    expected = [NOON_US, 1_500_000, 0]
    array = pa.array([NOON_US / 1e6, 1.5, float("nan")])
    microseconds, valid = values.times(array, "s")
    assert microseconds.tolist() == expected and valid.tolist() == [True, True, False]
    microseconds, valid = values.times(pa.array(["1699790400.123456", "1.5", "1e400"]), "s")
    assert microseconds.tolist() == expected and valid.tolist() == [True, True, False]
    assert values.times(pa.array([1e300]), "s")[0][0] > 4 * 10**18


@pytest.mark.parametrize("text", ["", "abc", "12:30", "0x10", "nan", "inf", "1_000", None, "2023-11-12"])
def test_unparsable_times(text: str | None) -> None:
    assert values.times(pa.array([text, "1"]), "s")[1].tolist() == [False, True]


def test_iso8601() -> None:
    texts = [
        "2023-11-12T12:00:00.123456Z",
        "2023-11-12T12:00:00.123456",
        "2023-11-12 14:00:00.123456+02:00",
        "2023-11-12T12:00:00.123456999Z",
        "yesterday",
        "1699790400",
        None,
    ]
    microseconds, valid = values.times(pa.array(texts), "iso8601")
    assert valid.tolist() == [True] * 4 + [False] * 3
    assert microseconds[:4].tolist() == [NOON_US] * 4


@pytest.mark.parametrize("unit", ["s", "iso8601"])
def test_timestamp_columns_do_not_need_the_unit(unit: str) -> None:
    for kind in (pa.timestamp("us"), pa.timestamp("ns", tz="UTC"), pa.timestamp("us", tz="Europe/Berlin")):
        array = pa.array([NOON_US], pa.int64()).cast(pa.timestamp("us", tz="UTC")).cast(kind)
        assert values.times(array, unit)[0].tolist() == [NOON_US]
    days = pa.array([dt.date(2023, 11, 12), None])
    for kind in (pa.date32(), pa.date64()):
        microseconds, valid = values.times(days.cast(kind), unit)
        assert microseconds[0] == NOON_US - NOON_US % 86_400_000_000 and valid.tolist() == [True, False]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([0, 1, 2, None, -1], pa.int8()), [0, 1, None, None, None]),
        (pa.array([True, False, None]), [1, 0, None]),
        (pa.array([1.0, 0.0, 0.5, float("nan")]), [1, 0, None, None]),
        (pa.array(["1", " TRUE", "False", "0.0", "yes", ""]), [1, 1, 0, 0, None, None]),
        (pa.array(["1", "0"]).dictionary_encode(), [1, 0]),
    ],
)
def test_labels(array: pa.Array, expected: list) -> None:
    labels, valid = values.labels(array)
    assert labels.dtype == np.int8
    assert [int(v) if ok else None for v, ok in zip(labels, valid, strict=True)] == expected


@pytest.mark.parametrize(
    ("array", "expected", "unusable"),
    [
        (pa.array([1, None]), [1.0, None], 0),
        (pa.array([1.5, float("nan"), float("inf")]), [1.5, None, None], 1),
        (pa.array(["2.5", "", None, "tall"]), [2.5, None, None, None], 1),
        (pa.array([True]), [1.0], 0),
        (pa.nulls(1), [None], 0),
    ],
)
def test_numbers(array: pa.Array, expected: list, unusable: int) -> None:
    numbers, count = values.numbers(array)
    assert numbers.dtype == np.float32
    assert [None if np.isnan(v) else float(v) for v in numbers] == expected
    assert count == unusable


AMERICAN = "%m/%d/%Y %I:%M:%S %p"


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("11/15/2019 8:55:22 AM", AMERICAN, "2019-11-15T08:55:22"),
        (" 11/9/2019 12:30:00 AM ", AMERICAN, "2019-11-09T00:30:00"),
        ("1/1/2019 12:00:00 PM", AMERICAN, "2019-01-01T12:00:00"),
        ("2/29/2020 1:00:00 PM", AMERICAN, "2020-02-29T13:00:00"),
        ("2/29/2019 1:00:00 PM", AMERICAN, None),
        ("2/30/2020 1:00:00 PM", AMERICAN, None),
        ("4/31/2020 1:00:00 PM", AMERICAN, None),
        ("5/1/2020 1:00:00 PM", AMERICAN, "2020-05-01T13:00:00"),
        ("13/1/2020 1:00:00 PM", AMERICAN, None),
        ("1/1/2020 13:00:00 PM", AMERICAN, None),
        ("1/1/2020 1:00:00 PM and more", AMERICAN, None),
        ("yesterday", AMERICAN, None),
        ("", AMERICAN, None),
        (None, AMERICAN, None),
        ("20191130102030", "%Y%m%d%H%M%S", "2019-11-30T10:20:30"),
        ("2019-03-01 00:30:00+0100", "%Y-%m-%d %H:%M:%S%z", "2019-02-28T23:30:00"),
        ("03 Feb 2020", "%d %b %Y", "2020-02-03T00:00:00"),
    ],
)
def test_times_by_a_format(text: str | None, form: str, expected: str | None) -> None:
    for kind in (pa.string(), pa.binary()):
        found, valid = values.times(pa.array([text, None], kind), form)
        assert valid.tolist() == [expected is not None, False]
        if expected is not None:
            assert found[0] == np.datetime64(expected, "us").astype(np.int64)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
def test_a_part_of_an_array_is_that_part(kind: pa.DataType) -> None:
    whole = pa.array(["1", "22", "", "333", "4"], pa.string()).cast(kind)
    for start in range(5):
        assert values.text(whole[start:]).to_pylist() == ["1", "22", None, "333", "4"][start:]
