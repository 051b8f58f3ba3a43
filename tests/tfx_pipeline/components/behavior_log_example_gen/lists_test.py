"""Logs whose rows are lists of impressions, or give histories, run through Beam."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tfx_pipeline.errors import DataError, LeakageError

T0, DAY = 1_600_000_000, 86_400
DATES = {"dates": {"eval_from": "2020-10-03T12:26:40Z", "test_from": "2020-10-08T12:26:40Z"}}
PAIRS = {"separator": " ", "label_separator": "-"}
Row = dict[str, Any]


def _lists(requests: int = 60, seed: int = 3) -> list[Row]:
    """Rows of (user, time, items, labels, history, times of the history)."""
    rng, rows = random.Random(seed), []
    for number in range(requests):
        time = T0 + rng.randrange(30) * DAY + rng.randrange(1000)
        items = [f"i{item}" for item in rng.sample(range(15), rng.randrange(1, 6))]
        times = sorted(time - rng.randrange(1, 10 * DAY) for _ in range(rng.randrange(6)))
        rows.append(
            {
                "user_id": f"u{rng.randrange(6)}",
                "timestamp": time,
                "request_id": f"r{number}",
                "items": items,
                "labels": [rng.randrange(2) for _ in items],
                "history": [f"i{rng.randrange(15)}" for _ in times],
                "times": times,
            }
        )
    return rows


def _long(rows: list[Row]) -> list[Row]:
    """The same log, an impression a row."""
    kept = ("user_id", "timestamp", "request_id")
    return [
        {**{name: row[name] for name in kept}, "item_id": item, "label": label}
        for row in rows
        for item, label in zip(row["items"], row["labels"], strict=True)
    ]


def _cells(rows: list[Row], form: str) -> list[Row]:
    if form == "pairs":
        pairs = [" ".join(f"{i}-{label}" for i, label in zip(r["items"], r["labels"], strict=True)) for r in rows]
        return [{**row, "items": cell, "labels": None} for row, cell in zip(rows, pairs, strict=True)]
    if form == "text":
        return [{**r, "items": "|".join(r["items"]), "labels": "|".join(map(str, r["labels"]))} for r in rows]
    return rows


def _tuples(examples: dict[str, list[dict]]) -> dict[str, list]:
    names = ("user_id", "request_time_us", "history_item_id", "candidate_item_id", "label")
    return {split: sorted([row[name] for name in names] for row in rows) for split, rows in examples.items()}


@pytest.mark.parametrize(
    ("form", "ending", "lists"),
    [
        ("pairs", "csv", PAIRS),
        ("pairs", "parquet", PAIRS),
        ("text", "jsonl", {"separator": "|"}),
        ("lists", "parquet", {}),
        ("lists", "jsonl", {}),
    ],
)
def test_lists_give_what_their_impressions_give(
    make_config: Callable, run: Callable, form: str, ending: str, lists: dict[str, str]
) -> None:
    rows = _lists()
    columns = {"request": "request_id"}
    wanted = run(make_config(_long(rows), split=DATES, interactions={"columns": columns}))
    log = {"columns": {**columns, "item": "items", "label": "labels"}, "impressions": lists}
    found = run(make_config(_cells(rows, form), ending, split=DATES, interactions=log))
    assert all(wanted.examples.values()) and _tuples(found.examples) == _tuples(wanted.examples)
    # By a hash of their bytes, in the same order too.
    assert found.examples == wanted.examples
    impressions = sum(len(row["items"]) for row in rows)
    assert found.report["rows_read"] == len(rows) and found.report["lists"] == {"rows": 60, "impressions": impressions}
    assert found.report["rows_kept"] == impressions and wanted.report["lists"] is None


FURTHER = ("bought", "slot", "price")
MORE = {"candidate": {"slot": "categorical", "price": "numeric"}, "context": {"page": "categorical"}}


def _with_more(rows: list[Row]) -> list[Row]:
    """The rows with a second label and two columns of each impression, and one column of the row."""
    rng = random.Random(7)
    for number, row in enumerate(rows):
        row["page"] = f"p{number % 3}"
        row["bought"] = [label * rng.randrange(2) for label in row["labels"]]
        row["slot"] = [f"s{place}" if rng.random() < 0.8 else "" for place in range(len(row["items"]))]
        row["price"] = [round(rng.random(), 3) for _ in row["items"]]
    return rows


@pytest.mark.parametrize(
    ("form", "ending", "lists"),
    [("lists", "parquet", {}), ("lists", "jsonl", {}), ("text", "csv", {"separator": "|"}), ("pairs", "csv", PAIRS)],
)
def test_labels_and_columns_of_each_impression_are_lists_beside_the_items(
    make_config: Callable, run: Callable, form: str, ending: str, lists: dict[str, str]
) -> None:
    rows = _with_more(_lists())
    long = [
        one | {name: row[name][place] for name in FURTHER} | {"page": row["page"]}
        for row in rows
        for place, one in enumerate(_long([row]))
    ]
    more = MORE | {"labels": {"buy": {"column": "bought", "given": "label"}}}
    wanted = run(make_config(long, "parquet", split=DATES, interactions={"columns": {"request": "request_id"}}, **more))
    assert len({value for rows in wanted.examples.values() for row in rows for value in row["slot"]}) > 3
    told = _cells(rows, form)
    if lists:
        separator = lists["separator"]
        told = [row | {name: separator.join(map(str, row[name])) for name in FURTHER} for row in told]
    more["labels"] = {"buy": {"column": "bought", "given": "labels"}}
    log = {"columns": {"request": "request_id", "item": "items", "label": "labels"}, "impressions": lists}
    found = run(make_config(told, ending, split=DATES, interactions=log, **more))
    assert found.examples == wanted.examples
    assert not any(found.report["quarantined"].values())


def test_a_row_is_bad_where_one_of_its_impressions_is(make_config: Callable, run: Callable) -> None:
    rows = _with_more(_lists())
    rows[3]["bought"] = [1 for _ in rows[3]["items"]]
    rows[3]["labels"] = [0 for _ in rows[3]["items"]]
    rows[5]["slot"] = rows[5]["slot"][1:]
    rows[7]["bought"] = [2 for _ in rows[7]["items"]]
    log = {"columns": {"request": "request_id", "item": "items", "label": "labels"}, "impressions": {}}
    more = MORE | {"labels": {"buy": {"column": "bought", "given": "labels"}}, "data": {"max_bad_fraction": 0.2}}
    report = run(make_config(rows, split=DATES, interactions=log, **more)).report
    assert {reason: n for reason, n in report["quarantined"].items() if n} == {
        "label_without_condition": 1,
        "unequal_lists": 1,
        "bad_label": 1,
    }


def test_rows_and_impressions_are_accounted_for(make_config: Callable, run: Callable) -> None:
    rows = _cells(_lists(), "pairs")
    bad = ["", "i1", "i1-1 i2-3", "-1", None]
    rows += [{**rows[0], "items": cell, "request_id": f"bad{n}"} for n, cell in enumerate(bad)]
    # An item twice: once the same, once with another label.
    rows.append({**rows[0], "items": "i1-0 i1-0 i1-1 i2-0 ", "request_id": "twice"})
    log = {"columns": {"item": "items", "request": "request_id"}, "impressions": PAIRS}
    config = make_config(rows, split=DATES, interactions=log, data={"max_bad_fraction": 0.5})
    report = run(config).report
    assert {reason: n for reason, n in report["quarantined"].items() if n} == {
        "no_impressions": 2,
        "bad_label": 2,
        "null_item": 1,
    }
    assert report["rows_read"] == 66 == report["lists"]["rows"] + 5
    assert (report["duplicates"], report["merged_labels"]) == (1, 1)
    assert report["lists"]["impressions"] == report["rows_kept"] + 2
    with pytest.raises(DataError, match=r'null_item 1, such as "-1" in row 64.*\n.*bad_label 2, such as "i1".*behind'):
        run(config.model_copy(update={"data": config.data.model_copy(update={"max_bad_fraction": 0.01})}))


GIVEN = {"column": "history"}


@pytest.mark.parametrize("with_times", [False, True])
@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_histories_are_those_that_the_log_gives(
    make_config: Callable, run: Callable, with_times: bool, order: str
) -> None:
    rows = _lists()
    given = GIVEN | {"order": order} | ({"times": "times"} if with_times else {})
    log = {"columns": {"item": "items", "label": "labels", "history": given}, "impressions": {}}
    told = rows
    if order == "newest_first":
        told = [{**row, "history": row["history"][::-1], "times": row["times"][::-1]} for row in rows]
    result = run(make_config(told, "parquet", split=DATES, interactions=log, history={"max_length": 3}))
    wanted = {(row["user_id"], row["timestamp"]): row["history"][-3:] for row in rows}
    found = [example for examples in result.examples.values() for example in examples]
    assert len(found) == len(wanted) == 60
    for example in found:
        key = example["user_id"][0].decode(), example["request_time_us"][0] // 10**6
        assert [item.decode() for item in example["history_item_id"]] == wanted[key]
    counts = result.report["history"]["given"]
    assert counts["with_times"] == with_times and counts["events"] == sum(len(row["history"]) for row in rows)
    assert (result.report["audit"]["newest_history_age_s"] is not None) == with_times
    assert not any(result.report["audit"]["violations"].values())


def test_events_from_the_future_are_left_out_and_bounded(make_config: Callable, run: Callable) -> None:
    rows = _lists()
    clean = run(_given_config(make_config, rows))
    # Of one request: an event of its own moment and one after it; and one just before it, for the delay.
    row = rows[7]
    row["history"] = [*row["history"], "i1", "i2", "i3"]
    row["times"] = [*row["times"], row["timestamp"] - 1, row["timestamp"], row["timestamp"] + 5]
    planted = run(_given_config(make_config, rows, max_bad_fraction=0.1))
    assert planted.report["history"]["given"]["from_future"] == 2
    assert planted.report["history"]["given"]["held_back"] == 0
    before = {str(example) for examples in clean.examples.values() for example in examples}
    after = {str(example) for examples in planted.examples.values() for example in examples}
    assert len(after - before) == 1 and "b'i1'" in (after - before).pop()
    delayed = run(_given_config(make_config, rows, max_bad_fraction=0.1, delay_s=1.5))
    assert delayed.report["history"]["given"]["held_back"] >= 1
    assert delayed.report["history"]["given"]["from_future"] == 2
    with pytest.raises(LeakageError, match=r"2 of 1\d\d events of the histories that the log gives are at or after"):
        run(_given_config(make_config, rows, max_bad_fraction=0.001))


def _given_config(make_config: Callable, rows: list[Row], delay_s: float = 0.0, **data: Any) -> Any:
    given = GIVEN | {"times": "times"}
    log = {"columns": {"item": "items", "label": "labels", "history": given}, "impressions": {}}
    return make_config(rows, split=DATES, interactions=log, history={"delay_s": delay_s}, data=data)


def test_a_builder_that_takes_the_future_is_found_out(
    make_config: Callable, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfx_pipeline.data.examples.given import GivenHistory

    rows = _lists()
    rows[7]["history"].append("i1")
    rows[7]["times"].append(rows[7]["timestamp"] + 1)
    monkeypatch.setattr(GivenHistory, "known_at", lambda self, time, history: self)
    with pytest.raises(LeakageError, match="history_not_before_request: 1 "):
        run(_given_config(make_config, rows, max_bad_fraction=0.1))
    monkeypatch.setattr(GivenHistory, "known_at", lambda self, time, history: GivenHistory(self.items[:1], None))
    with pytest.raises(LeakageError, match="history_not_as_given: "):
        run(_given_config(make_config, rows, max_bad_fraction=0.1))


@pytest.mark.parametrize("split", [DATES, {"fractions": {}}])
def test_rows_before_train_from_bring_history_only(make_config: Callable, run: Callable, split: dict[str, Any]) -> None:
    rows = _long(_lists())
    columns = {"columns": {"request": "request_id"}}
    whole = run(make_config(rows, split=split, interactions=columns))
    first = T0 + 8 * DAY
    part = run(make_config(rows, split={**split, "train_from": "2020-09-21T12:26:40Z"}, interactions=columns))
    early = [row for row in rows if row["timestamp"] < first]
    assert part.report["history_only"] == len(early) > 0
    assert part.report["rows_kept"] == len(rows) - len(early)

    def later(examples: dict[str, list[dict]]) -> list:
        times = sorted(row for of_split in _tuples(examples).values() for row in of_split)
        return [row for row in times if row[1][0] >= first * 10**6]

    # The same requests with the same histories, of which the first reach back before it.
    assert later(part.examples) == later(whole.examples)
    assert len(later(part.examples)) == sum(map(len, part.examples.values()))
    assert not any(part.report["audit"]["violations"].values())
    if "fractions" in split:
        shares = [part.report["splits"][name]["impressions"] for name in ("train", "eval", "test")]
        assert shares[0] / sum(shares) == pytest.approx(0.8, abs=0.06)
        assert part.report["cuts"]["eval_from"] > whole.report["cuts"]["eval_from"]


def test_a_request_does_not_go_over_train_from(make_config: Callable, run: Callable) -> None:
    rows = _long(_lists())
    session = {"user_id": "u0", "request_id": "session"}
    rows += [
        {**session, "item_id": "i1", "timestamp": T0 + 8 * DAY - 1, "label": 1},
        {**session, "item_id": "i2", "timestamp": T0 + 8 * DAY, "label": 0},
    ]
    columns = {"columns": {"request": "request_id"}}
    result = run(make_config(rows, split={**DATES, "train_from": "2020-09-21T12:26:40Z"}, interactions=columns))
    (example,) = (row for row in result.examples["train"] if row["request_time_us"] == [(T0 + 8 * DAY) * 10**6])
    assert example["candidate_item_id"] == [b"i2"] and example["history_item_id"][-1] == b"i1"
    assert not any(result.report["audit"]["violations"].values())


def test_negatives_are_not_what_a_given_history_has(make_config: Callable, run: Callable) -> None:
    rows = [{**row, "items": row["items"][:1]} for row in _lists()]
    log = {"columns": {"item": "items", "label": None, "history": GIVEN}, "impressions": {}}
    negatives = {"train": 3, "eval": 3, "test": 3}
    result = run(make_config(rows, split=DATES, interactions=log, negatives=negatives))
    assert result.report["lists"] == {"rows": 60, "impressions": 60} and result.report["rows_kept"] == 60
    assert not any(result.report["audit"]["violations"].values())
    drawn = 0
    for example in (example for examples in result.examples.values() for example in examples):
        labels = dict(zip(example["candidate_item_id"], example["label"], strict=True))
        shown = {item for item, label in labels.items() if not label}
        drawn += len(shown)
        assert not shown & set(example["history_item_id"])
    assert drawn == sum(result.report["negatives"].values()) > 60
