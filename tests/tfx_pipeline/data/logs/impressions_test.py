"""Rows that are lists of impressions, or give histories: what `clean` makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.data.logs.cells import usable_as_list
from tfx_pipeline.data.logs.cleaning import Cleaned, clean
from tfx_pipeline.data.logs.files import LogFile
from tfx_pipeline.data.logs.reader import RawBatch
from tfx_pipeline.errors import DataError

FILE = LogFile(0, "/logs/day.csv", "csv", ",")
PAIRS = {"separator": " ", "label_separator": "-"}
TIME = 1_600_000_000


def _config(lists: dict[str, str] | None, history: dict[str, str] | None = None, **more: Any) -> IngestionConfig:
    columns = {"item": "items", "label": "labels", "history": history, **more.pop("columns", {})}
    log = {"path": "/logs", "columns": columns, "impressions": lists, **more.pop("log", {})}
    return IngestionConfig.model_validate(
        {"data": {"interactions": log, "items": {"path": "/items.csv"}}, "split": {"fractions": {}}, **more}
    )


def _clean(config: IngestionConfig, **columns: Any) -> Cleaned:
    """Cleans rows numbered from 1, of one user and at one time unless given."""
    arrays = {name: column if isinstance(column, pa.Array) else pa.array(column) for name, column in columns.items()}
    size = len(next(iter(arrays.values())))
    fixed = {"user_id": pa.array(["u"] * size), "timestamp": pa.array([TIME] * size)}
    return clean(RawBatch({**fixed, **arrays}, np.arange(1, size + 1), []), FILE, config)


def _impressions(cleaned: Cleaned) -> list[tuple[int, str, int]]:
    good = cleaned.good
    items = [item.decode() for item in good.item.to_pylist()]
    return list(zip(good.row.tolist(), items, good.label.tolist(), strict=True))


def _bad(cleaned: Cleaned) -> dict[int, str]:
    return {row.row: row.reason for row in cleaned.bad_rows}


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_pairs_of_text(kind: pa.DataType) -> None:
    cells = ["N1-1 N2-0", "a-b-1", " x-0  y-1 ", "-0", "N1", "N1-1 N2", "N1-2", "", None, "  ", "é人-1 N1-true", "N1-"]
    cleaned = _clean(_config(PAIRS), items=pa.array(cells).cast(kind))
    assert _impressions(cleaned) == [
        (1, "N1", 1),
        (1, "N2", 0),
        (2, "a-b", 1),
        (3, "x", 0),
        (3, "y", 1),
        (11, "é人", 1),
        (11, "N1", 1),
    ]
    empty, label = "no_impressions", "bad_label"
    assert _bad(cleaned) == {4: "null_item", 5: label, 6: label, 7: label, 8: empty, 9: empty, 10: empty, 12: label}
    assert (
        cleaned.good_rows + len(cleaned.bad_rows) == len(cells) == cleaned.good_rows + sum(cleaned.bad_counts.values())
    )


def test_ids_that_are_not_utf8_are_bad_rows() -> None:
    cleaned = _clean(_config(PAIRS), items=pa.array([b"N1-1 \xff-0", b"N2-1"], pa.binary()))
    assert _bad(cleaned) == {1: "not_utf8"} and _impressions(cleaned) == [(2, "N2", 1)]
    assert cleaned.bad_rows[0].values["items"] == r"N1-1 \xff-0"


def test_ten_thousand_impressions_in_a_cell() -> None:
    cell = " ".join(f"N{n}-{n % 2}" for n in range(10_000))
    cleaned = _clean(_config(PAIRS), items=["N1-1", cell, f"{cell} N1"])
    assert len(cleaned.good.row) == 10_001 and cleaned.good.label.sum() == 5_001
    # What is shown of a bad row is of bounded length.
    assert _bad(cleaned) == {3: "bad_label"} and len(cleaned.bad_rows[0].values["items"]) < 10_100


def test_lists_beside_each_other() -> None:
    cleaned = _clean(
        _config({}),
        items=[["a", "b"], ["a"], [], None, ["a", None], ["a", ""], ["a", "b"], [None], ["c"]],
        labels=[[1, 0], [1, 0], [], None, [1, 1], [1, 1], [1, None], None, [0]],
    )
    assert _impressions(cleaned) == [(1, "a", 1), (1, "b", 0), (9, "c", 0)]
    assert _bad(cleaned) == {
        2: "unequal_lists",
        3: "no_impressions",
        4: "no_impressions",
        5: "null_item",
        6: "null_item",
        7: "bad_label",
        8: "unequal_lists",
    }


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int64()), pa.large_list(pa.string()), pa.list_(pa.dictionary(pa.int8(), pa.string()))]
)
def test_lists_of_any_type(kind: pa.DataType) -> None:
    assert usable_as_list(kind)
    items = pa.array([[1, 2], None, [3]], pa.list_(pa.int64()))
    items = items if kind == items.type else pa.array([["1", "2"], None, ["3"]], kind)
    # A part of a larger array, as a batch may be.
    cleaned = _clean(_config({}), items=items[1:], labels=pa.array([[1], [0, 1], None, [1]])[2:])
    assert _impressions(cleaned) == [(2, "3", 1)]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.int64(), pa.list_(pa.list_(pa.string())), pa.struct([("a", pa.int8())])]
)
def test_what_is_no_list_is_refused(kind: pa.DataType) -> None:
    assert not usable_as_list(kind)
    with pytest.raises(DataError, match=r"column 'items' of type .* cannot be read"):
        _clean(
            _config({}),
            items=pa.nulls(1, kind) if pa.types.is_nested(kind) else pa.array(["1"]).cast(kind),
            labels=[[1]],
        )


def test_columns_of_nulls_have_no_impressions() -> None:
    assert _bad(_clean(_config({}), items=pa.nulls(1), labels=pa.nulls(1))) == {1: "no_impressions"}
    assert _bad(_clean(_config(PAIRS), items=pa.nulls(1))) == {1: "no_impressions"}


def test_text_of_parallel_values_keeps_its_places() -> None:
    cleaned = _clean(
        _config({"separator": "|"}),
        items=["a|b", "a|b|", "a||b", "a|b", "|b", "人|b"],
        labels=["1|0", "1|0|", "1||0", "1", "0|1", "0|1"],
    )
    # A value that is empty in both is none; one that is empty in one of them is at fault.
    expected = [(row, item, label) for row in (1, 2, 3) for item, label in (("a", 1), ("b", 0))]
    assert _impressions(cleaned) == [*expected, (6, "人", 0), (6, "b", 1)]
    assert _bad(cleaned) == {4: "unequal_lists", 5: "null_item"}


def test_what_describes_a_row_describes_its_impressions() -> None:
    config = _config(
        PAIRS,
        context={"device": "categorical", "hour": "numeric"},
        columns={"request": "request", "weight": "weights"},
    )
    cleaned = _clean(
        config,
        user_id=["u", "v", "w"],
        items=["a-1 b-0", "x", "c-1"],
        weights=["1 0.5", "1", "2"],
        request=["r1", None, "r3"],
        timestamp=[TIME, TIME, TIME + 1],
        device=["tv", "tv", None],
        hour=["3", "x", "many"],
    )
    good = cleaned.good
    assert good.user.to_pylist() == [b"u", b"u", b"w"] and good.request.to_pylist() == [b"r1", b"r1", b"r3"]
    assert good.time_us.tolist() == [TIME * 10**6, TIME * 10**6, (TIME + 1) * 10**6]
    assert good.weight.tolist() == [1, 0.5, 2] and good.columns["device"].to_pylist() == [b"tv", b"tv", None]
    assert good.columns["hour"][:2].tolist() == [3, 3] and np.isnan(good.columns["hour"][2])
    # Counted by row, of the good ones.
    assert cleaned.no_number == {"hour": 1} and _bad(cleaned) == {2: "bad_label"}


def _histories(cleaned: Cleaned) -> list[tuple[list[str], list[int] | None]]:
    """Of each impression."""
    history = cleaned.good.history
    ends = np.cumsum(history.lengths)
    items = [item.decode() for item in history.item.to_pylist()]
    found = []
    for place in history.of.tolist():
        part = slice(ends[place] - history.lengths[place], ends[place])
        times = None if history.time_us is None else (history.time_us[part] // 10**6).tolist()
        found.append((items[part], times))
    return found


def test_histories_of_text() -> None:
    config = _config(PAIRS, {"column": "history", "separator": " "})
    cleaned = _clean(config, items=["a-1 b-0", "c", "c-1", "d-1"], history=["x y  x ", "bad", None, ""])
    assert _histories(cleaned) == [(["x", "y", "x"], None), (["x", "y", "x"], None), ([], None), ([], None)]


def test_histories_with_times_go_by_these() -> None:
    config = _config(None, {"column": "history", "times": "times", "order": "newest_first"})
    cleaned = _clean(
        config,
        items=["a"] * 7,
        labels=[1] * 7,
        history=[["z", "y", "x"], ["b", "a"], None, ["a"], ["a"], ["a", None], ["a", "b"]],
        times=[[TIME + 5, TIME, TIME], [TIME, TIME + 9], [], [], [-3], [TIME, TIME], [TIME, None]],
    )
    # Of one time: the later in a list of newest first is the older.
    assert _histories(cleaned) == [
        (["x", "y", "z"], [TIME, TIME, TIME + 5]),
        (["b", "a"], [TIME, TIME + 9]),
        ([], []),
    ]
    assert _bad(cleaned) == dict.fromkeys((4, 5, 6, 7), "bad_history")


_ITEM = st.text(st.sampled_from("aé- 人"), max_size=3).map(lambda text: text.replace(" ", ""))
_ROW = st.lists(st.tuples(_ITEM, st.sampled_from(["0", "1", "2", ""])), max_size=4)


@given(st.lists(st.tuples(_ROW, st.sampled_from([" ", "  "])), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_pairs_are_read_as_python_would(rows: list[tuple[list[tuple[str, str]], str]]) -> None:
    cells = [space.join(f"{item}-{label}" for item, label in row) for row, space in rows]
    cleaned = _clean(_config(PAIRS), items=pa.array(cells, pa.string()))
    expected, bad = [], {}
    for number, cell in enumerate(cells, start=1):
        pairs = [value.rpartition("-")[::2] for value in cell.split(" ") if value]
        if not pairs:
            bad[number] = "no_impressions"
        elif any(not item for item, _ in pairs):
            bad[number] = "null_item"
        elif any(label not in ("0", "1") for _, label in pairs):
            bad[number] = "bad_label"
        else:
            expected += [(number, item, int(label)) for item, label in pairs]
    assert _impressions(cleaned) == expected and _bad(cleaned) == bad
