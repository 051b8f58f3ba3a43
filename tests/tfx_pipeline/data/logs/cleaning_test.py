from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.tables import Data, InteractionColumns
from tfx_pipeline.data.logs.cleaning import Cleaned, clean
from tfx_pipeline.data.logs.files import LogFile
from tfx_pipeline.data.logs.quarantine import REASONS, BadRow, FirstBadRows, check_bad_fraction, examples
from tfx_pipeline.data.logs.reader import RawBatch
from tfx_pipeline.errors import DataError

FILE = LogFile(3, "/logs/day.csv", "csv", ",")
CONFIG = IngestionConfig.model_validate(
    {
        "data": {
            "interactions": {"path": "/logs", "columns": {"request": "shown_in"}},
            "items": {"path": "/items.csv"},
            "earliest_time": "2000-01-01",
            "latest_time": "2030-01-01",
        },
        "split": {"fractions": {}},
        "context": {"device": "categorical", "hour": "numeric"},
    }
)
GOOD = {
    "user_id": "u",
    "item_id": "i",
    "timestamp": "1600000000",
    "label": "1",
    "shown_in": "r",
    "device": "tv",
    "hour": "3",
}


def _clean(*rows: dict[str, Any], malformed: list[tuple[int, str]] | None = None) -> Cleaned:
    """Cleans rows that are `GOOD` but for the given values."""
    columns = {name: pa.array([{**GOOD, **row}[name] for row in rows], pa.string()) for name in GOOD}
    return clean(RawBatch(columns, np.arange(10, 10 + len(rows)), malformed or []), FILE, CONFIG)


@pytest.mark.parametrize(
    ("reason", "values"),
    [
        ("null_user", {"user_id": None}),
        ("null_user", {"user_id": ""}),
        ("null_item", {"item_id": None}),
        ("bad_label", {"label": "2"}),
        ("bad_label", {"label": None}),
        ("bad_time", {"timestamp": "noon"}),
        ("bad_time", {"timestamp": None}),
        ("negative_time", {"timestamp": "-1"}),
        ("time_out_of_range", {"timestamp": "1600000000000"}),
        ("time_out_of_range", {"timestamp": "1600000"}),
        ("time_out_of_range", {"timestamp": "1" + "0" * 30}),
    ],
)
def test_each_reason_names_row_and_values(reason: str, values: dict[str, Any]) -> None:
    cleaned = _clean({}, values, {})
    assert cleaned.good.row.tolist() == [10, 12]
    assert {name: count for name, count in cleaned.bad_counts.items() if count} == {reason: 1}
    (bad,) = cleaned.bad_rows
    assert (bad.ordinal, bad.row, bad.file, bad.reason) == (3, 11, "/logs/day.csv", reason)
    assert bad.values == {**GOOD, **values}
    assert set(cleaned.bad_counts) == set(REASONS)


def test_a_weight_is_a_number_of_at_least_zero() -> None:
    interactions = CONFIG.data.interactions
    columns = interactions.columns.model_copy(update={"weight": "weight"})
    data = CONFIG.data.model_copy(update={"interactions": interactions.model_copy(update={"columns": columns})})
    given = ["2.5", "0", "", None, "-1", "nan", "inf", "much", "1e39"]
    values = {name: pa.array([value] * len(given), pa.string()) for name, value in GOOD.items()}
    batch = RawBatch({**values, "weight": pa.array(given, pa.string())}, np.arange(len(given)), [])
    cleaned = clean(batch, FILE, CONFIG.model_copy(update={"data": data}))
    assert cleaned.good.weight is not None and cleaned.good.weight.tolist() == [2.5, 0]
    assert cleaned.bad_counts["bad_weight"] == len(given) - 2
    assert _clean({}).good.weight is None


def test_labels_of_further_objectives_are_quarantined_as_the_main_one_and_by_their_condition() -> None:
    labels = {"buy": {"column": "bought", "given": "label"}, "like": {"column": "liked"}}
    config = CONFIG.model_validate({**CONFIG.model_dump(), "labels": labels})
    given = [("1", "1", "0"), ("1", "0", "true"), ("0", "1.0", "0"), ("0", "0", "1"), ("1", "x", "1"), ("1", "1", None)]
    columns = {name: pa.array([value] * len(given), pa.string()) for name, value in GOOD.items()}
    for name, values in zip(("label", "bought", "liked"), zip(*given, strict=True), strict=True):
        columns[name] = pa.array(values, pa.string())
    cleaned = clean(RawBatch(columns, np.arange(len(given)), []), FILE, config)
    assert {name: count for name, count in cleaned.bad_counts.items() if count} == {
        "bad_label": 2,
        "label_without_condition": 1,
    }
    assert cleaned.good.label.tolist() == [1, 1, 0]
    assert cleaned.good.columns["label/buy"].tolist() == [1, 0, 0]  # type: ignore[union-attr]
    assert cleaned.good.columns["label/like"].tolist() == [0, 1, 1]  # type: ignore[union-attr]
    lines = [row.to_json() for row in cleaned.bad_rows]
    found = examples(lines, config.data.interactions.columns, config.label_columns)
    assert found["bad_label"].value == '{"label": "1", "bought": "x", "liked": "1"}'
    with pytest.raises(DataError, match=r'label_without_condition 1, such as {"label": "0", "bought": "1.0"'):
        check_bad_fraction(cleaned.bad_counts, 6, config.data, found)


def test_a_row_with_several_faults_counts_once() -> None:
    cleaned = _clean({"user_id": None, "item_id": None, "label": "x", "timestamp": "x"})
    assert sum(cleaned.bad_counts.values()) == 1 and cleaned.bad_counts["null_user"] == 1


def test_malformed_rows_carry_their_text() -> None:
    cleaned = _clean({}, malformed=[(4, "half a li")])
    assert cleaned.bad_counts["malformed"] == 1
    assert json.loads(cleaned.bad_rows[0].to_json()) == {
        "file": "/logs/day.csv",
        "row": 4,
        "reason": "malformed",
        "values": {"text": "half a li"},
    }


def test_bounds_of_time_are_inside() -> None:
    first, last = CONFIG.data.earliest_time.timestamp(), CONFIG.data.latest_time.timestamp()
    cleaned = _clean(*({"timestamp": str(int(t))} for t in (first - 1, first, last, last + 1)))
    assert cleaned.good.row.tolist() == [11, 12]


def test_context_columns_never_make_a_row_bad() -> None:
    cleaned = _clean({}, {"device": None, "hour": "late"}, {"device": "", "hour": ""})
    assert cleaned.good.columns["device"].to_pylist() == [b"tv", None, None]
    np.testing.assert_array_equal(cleaned.good.columns["hour"], np.array([3, np.nan, np.nan], np.float32))
    assert cleaned.no_number == {"hour": 1}
    assert cleaned.bad_rows == []


def test_quarantine_keeps_the_first_rows_of_all_workers() -> None:
    combine = FirstBadRows(limit=5)
    rows = [BadRow(ordinal, row, f"f{ordinal}", "bad_time", {}) for ordinal in range(3) for row in range(20)]
    accumulators = []
    for worker in range(3):
        accumulator = combine.create_accumulator()
        for row in rows[worker::3][::-1]:
            accumulator = combine.add_input(accumulator, [row])
            assert len(accumulator) <= 11
        accumulators.append(accumulator)
    assert combine.extract_output(combine.merge_accumulators(accumulators)) == rows[:5]


def _data(time_unit: str = "s", **changes) -> Data:
    return Data(interactions={"path": "log.csv", "time_unit": time_unit}, items={"path": "items.csv"}, **changes)


def test_bad_fraction_stops_only_above_the_limit() -> None:
    check_bad_fraction({"bad_time": 1}, 100, _data(), {})
    check_bad_fraction({}, 0, _data(), {})
    with pytest.raises(DataError, match=r"2 of 100 rows .*\(2\.00%\).*max_bad_fraction = 0\.01.*\nbad_time 2"):
        check_bad_fraction({"bad_time": 2}, 100, _data(), {})


@pytest.mark.parametrize(
    ("reason", "values", "unit", "expected"),
    [
        ("time_out_of_range", {"ts": 1600000000000}, "s", r"such as 1600000000000 in row 7 of f; .*time_unit is 's'"),
        (
            "bad_time",
            {"ts": "2023-11-14 22:43"},
            "s",
            r'such as "2023-11-14 22:43" in .*takes time_unit: iso8601',
        ),
        ("bad_time", {"ts": "14.11.2023"}, "iso8601", r'such as "14\.11\.2023" .*offset such as \+01:00'),
        ("bad_label", {"clicked": 0.5}, "s", r"such as 0\.5 in row 7 .*0, 1, true or false"),
        ("malformed", {"text": "2 fields instead of 3: a,b"}, "s", r'such as "2 fields instead of 3: a,b" in row 7'),
        ("null_user", {"user": None}, "s", r"such as null in row 7 .*expected an id"),
        ("not_utf8", {"user": "caf\\xe9"}, "s", r"data\.interactions\.encoding"),
    ],
)
def test_a_refusal_shows_a_row_and_what_is_accepted(reason, values, unit, expected) -> None:
    lines = [BadRow(0, 7, "f", reason, values).to_json(), BadRow(0, 8, "f", reason, {}).to_json()]
    columns = InteractionColumns(user="user", item="item", time="ts", label="clicked")
    with pytest.raises(DataError, match=expected):
        check_bad_fraction({reason: 90}, 100, _data(unit), examples(lines, columns))


def test_ids_that_are_not_utf8_are_quarantined() -> None:
    columns = {name: pa.array([value.encode()] * 3, pa.binary()) for name, value in GOOD.items()}
    foreign = pa.array([b"u", "café".encode("latin-1"), b"u"], pa.binary())
    columns |= {"user_id": foreign, "device": foreign.take(pa.array([0, 0, 1]))}
    cleaned = clean(RawBatch(columns, np.arange(3), []), FILE, CONFIG)
    assert cleaned.bad_counts["not_utf8"] == 1
    assert cleaned.good.columns["device"].to_pylist()[1] == b"caf\\xe9"
