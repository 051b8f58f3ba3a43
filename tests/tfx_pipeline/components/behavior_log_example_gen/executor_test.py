"""What the component writes, run through Beam on small logs."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2

T0 = 1_600_000_000
DAY = 86_400
Event = dict[str, Any]


def _event(user: str, item: str, time: int, label: int, **more: Any) -> Event:
    return {"user_id": user, "item_id": item, "timestamp": time, "label": label, **more}


def _random_log(requests: int = 60, seed: int = 5) -> list[Event]:
    """Requests of 1 to 3 items on few instants: ties between users, between requests of a user, and duplicates."""
    rng = random.Random(seed)
    events = []
    for number in range(requests):
        user, time = f"u{rng.randrange(6)}", T0 + rng.randrange(30) * DAY
        for item in rng.sample(range(12), rng.randrange(1, 4)):
            events.append(_event(user, f"i{item}", time, rng.randrange(2), request_id=f"r{number}"))
    events += rng.sample(events, 5)
    rng.shuffle(events)
    return events


def _by_definition(events: list[Event], length: int, cuts: tuple[int, int], of_all: bool) -> dict[str, list]:
    """A quadratic reading of the rules, for logs whose requests have ids and one time each."""
    numbered = sorted(enumerate(events), key=lambda pair: (pair[1]["timestamp"], pair[0]))
    unique = list({tuple(sorted(event.items())): event for _, event in numbered}.values())
    splits: dict[str, list] = {"train": [], "eval": [], "test": []}
    for request in dict.fromkeys((event["user_id"], event["request_id"]) for event in unique):
        own = [event for event in unique if (event["user_id"], event["request_id"]) == request]
        time = own[0]["timestamp"]
        past = [e for e in unique if e["user_id"] == request[0] and e["timestamp"] < time]
        history = [e["item_id"] for e in past if of_all or e["label"]]
        split = "train" if time < cuts[0] else "eval" if time < cuts[1] else "test"
        splits[split].append(
            (request[0], time * 10**6, history[-length:], [e["item_id"] for e in own], [e["label"] for e in own])
        )
    return {split: sorted(rows) for split, rows in splits.items()}


def _tuples(examples: dict[str, list[dict]]) -> dict[str, list]:
    return {
        split: sorted(
            (
                row["user_id"][0].decode(),
                row["request_time_us"][0],
                [item.decode() for item in row["history_item_id"]],
                [item.decode() for item in row["candidate_item_id"]],
                row["label"],
            )
            for row in rows
        )
        for split, rows in examples.items()
    }


@pytest.mark.parametrize(
    ("ending", "history_of"), [("parquet", "positives"), ("csv", "positives"), ("jsonl", "positives"), ("jsonl", "all")]
)
def test_every_format_gives_what_the_definition_says(
    make_config: Callable, run: Callable, ending: str, history_of: str
) -> None:
    events = _random_log()
    dates = {"eval_from": "2020-10-03T12:26:40Z", "test_from": "2020-10-08T12:26:40Z"}
    config = make_config(
        events,
        ending,
        interactions={"columns": {"request": "request_id"}},
        split={"dates": dates},
        history={"max_length": 4, "events": history_of},
    )
    result = run(config)
    expected = _by_definition(events, 4, (T0 + 20 * DAY, T0 + 25 * DAY), history_of == "all")
    assert all(expected.values())
    assert _tuples(result.examples) == expected
    assert all(row["split"] == [split.encode()] for split, rows in result.examples.items() for row in rows)

    report = result.report
    assert (report["rows_read"], report["duplicates"], report["rows_kept"]) == (len(events), 5, len(events) - 5)
    assert sum(report["quarantined"].values()) == 0 and result.quarantine == []
    for split, rows in expected.items():
        counts = report["splits"][split]
        assert counts["requests"] == len(rows)
        assert counts["impressions"] == sum(len(row[3]) for row in rows)
        assert counts["positives"] == sum(sum(row[4]) for row in rows)
    assert report["audit"]["requests_checked"] == 60
    assert not any(report["audit"]["violations"].values())
    assert report["audit"]["newest_history_age_s"] == DAY
    assert report["cuts"] == {"eval_from": dates["eval_from"], "test_from": dates["test_from"]}
    lengths = [len(row[2]) for rows in expected.values() for row in rows]
    assert report["history"]["empty_share"] == pytest.approx(lengths.count(0) / len(lengths))
    by_length = {"0": lengths.count(0), "1": lengths.count(1), "2": sum(length >= 2 for length in lengths)}
    assert report["history"]["requests_by_length_from"] == by_length


def test_the_same_log_gives_the_same_files(make_config: Callable, run: Callable) -> None:
    config = make_config(_random_log())
    runs = [run(config) for _ in range(2)]
    files = [
        {str(path.relative_to(r.folder)): path.read_bytes() for path in sorted(r.folder.rglob("*")) if path.is_file()}
        for r in runs
    ]
    assert files[0] == files[1]
    assert [name for name in files[0] if not name.startswith("examples/Split-")] == [
        "report/quarantine.jsonl",
        "report/report.json",
    ]
    users = [row["user_id"][0] for row in runs[0].examples["train"]]
    assert users != sorted(users), "requests of one user are not kept together"
    assert examples_utils.get_payload_format(runs[0].artifact) == example_gen_pb2.FORMAT_TF_EXAMPLE
    assert runs[0].artifact.splits == ["train", "eval", "test"]


def test_traps_of_time(make_config: Callable, run: Callable) -> None:
    """One user with a log full of traps: ties, a late click, clicks of a later split, two requests in an instant."""
    shown = [
        ("i0", 0, 1, "a"),
        ("i1", 10, 1, "b"),
        ("i2", 10, 0, "c"),
        ("i3", 10, 1, "c"),
        ("i4", 20, 1, "d"),
        # Shown in train's last request, clicked after the cut: the label stays out of train, and the click is known to
        # nothing before 101.
        ("i5", 99, 0, "e"),
        ("i5", 100, 1, "e"),
        ("i6", 99, 0, "f"),
        ("i7", 100, 1, "g"),
        ("i8", 101, 0, "g2"),
        ("i9", 200, 1, "h"),
        ("i10", 200, 0, "i"),
        ("i11", 300, 0, "j"),
    ]
    events = [_event("u", item, T0 + time, label, rid=rid) for item, time, label, rid in reversed(shown)]
    dates = {"eval_from": "2020-09-13T12:28:20Z", "test_from": "2020-09-13T12:30:00Z"}
    config = make_config(
        events, interactions={"columns": {"request": "rid"}}, split={"dates": dates}, history={"max_length": 3}
    )
    result = run(config)
    got = {
        split: [(row[1] // 10**6 - T0, row[2], row[3], row[4]) for row in rows]
        for split, rows in _tuples(result.examples).items()
    }
    assert got == {
        "train": [
            (0, [], ["i0"], [1]),
            # Rows of one instant and request keep the order of the log, which is reversed here.
            (10, ["i0"], ["i1"], [1]),
            (10, ["i0"], ["i3", "i2"], [1, 0]),
            (20, ["i0", "i3", "i1"], ["i4"], [1]),
            (99, ["i3", "i1", "i4"], ["i5"], [0]),
            (99, ["i3", "i1", "i4"], ["i6"], [0]),
        ],
        "eval": [
            (100, ["i3", "i1", "i4"], ["i5"], [1]),
            (100, ["i3", "i1", "i4"], ["i7"], [1]),
            (101, ["i4", "i7", "i5"], ["i8"], [0]),
        ],
        "test": [
            (200, ["i4", "i7", "i5"], ["i10"], [0]),
            (200, ["i4", "i7", "i5"], ["i9"], [1]),
            (300, ["i7", "i5", "i9"], ["i11"], [0]),
        ],
    }
    assert result.report["merged_labels"] == 0


def test_profiles_context_and_what_is_missing(make_config: Callable, run: Callable) -> None:
    events = []
    for day in range(10):
        for user in ("u1", "u2"):
            more = {"device": "tv", "hour": day} if user == "u1" else {"device": None, "hour": "late"}
            events += [
                _event(user, "i1", T0 + day * DAY, 1, **more),
                # Context is that of a request's first row.
                _event(user, "unknown", T0 + day * DAY, 0, device="other", hour=99),
            ]
    users = [
        {"user_id": "u1", "city": "Ulm", "age": 30},
        {"user_id": "u1", "city": "Bonn", "age": 99},
        {"user_id": None, "city": "Rom", "age": 1},
        {"user_id": "u9", "city": "Oslo", "age": 2},
    ]
    config = make_config(
        events,
        users=users,
        profile={"city": "categorical", "age": "numeric"},
        context={"device": "categorical", "hour": "numeric"},
        history={"delay_s": DAY + 1},
    )
    result = run(config)
    rows = [row for rows in result.examples.values() for row in rows]
    assert len(rows) == 20
    for row in rows:
        day = (row["request_time_us"][0] // 10**6 - T0) // DAY
        known = row["user_id"] == [b"u1"]
        assert row["city"] == ([b"Ulm"] if known else []) and row["age"] == ([30.0] if known else [])
        assert row["device"] == ([b"tv"] if known else []) and row["hour"] == ([float(day)] if known else [])
        assert len(row["history_item_id"]) == max(0, day - 1), "yesterday's click is not known yet"
    report = result.report
    assert (report["users"], report["users_without_profile"]) == (2, 1)
    assert report["profiles_dropped"] == {"duplicate_user": 1, "null_user": 1}
    assert report["not_a_number"] == {"hour": 10}
    assert report["items"] == {"distinct": 2, "not_in_catalogue": 1, "impressions_not_in_catalogue": 20}


def test_bad_rows_are_set_aside_and_counted(make_config: Callable, run: Callable, tmp_path: Path) -> None:
    events = _random_log()
    bad = [
        _event("", "i1", T0, 1),
        _event("u1", None, T0, 1),
        _event("u1", "i1", T0, 7),
        _event("u1", "i1", "soon", 1),
        _event("u1", "i1", -5, 1),
        _event("u1", "i1", T0 * 1000, 1),
        _event("u1", ["i1"], T0, 1),
    ]
    clean = run(make_config(events))
    dirty = run(make_config([*bad, *events], data={"max_bad_fraction": 0.5}))
    assert _tuples(dirty.examples) == _tuples(clean.examples)
    assert dirty.report["quarantined"] == dict.fromkeys(
        ("malformed", "null_user", "null_item", "bad_time", "negative_time", "time_out_of_range", "bad_label"), 1
    ) | dict.fromkeys(
        ("not_utf8", "no_impressions", "unequal_lists", "label_without_condition", "bad_weight", "bad_history"), 0
    )
    assert [(row["row"], row["reason"]) for row in dirty.quarantine] == [
        (1, "null_user"),
        (2, "null_item"),
        (3, "bad_label"),
        (4, "bad_time"),
        (5, "negative_time"),
        (6, "time_out_of_range"),
        (7, "malformed"),
    ]
    assert dirty.quarantine[3]["values"] == {"user_id": "u1", "item_id": "i1", "timestamp": "soon", "label": "1"}
    assert {row["file"] for row in dirty.quarantine} == {str(tmp_path / "log.jsonl")}


def test_fractions_cut_at_exact_quantiles_and_never_within_an_instant(make_config: Callable, run: Callable) -> None:
    # Of 100 impressions that of rank 80 is the third of six at one instant, which all go to eval.
    times = [*range(78), *[80] * 6, *range(86, 102)]
    events = [_event(f"u{n % 7}", f"i{n % 5}", T0 + time, n % 2) for n, time in enumerate(times)]
    report = run(make_config(events)).report
    assert [report["splits"][split]["impressions"] for split in ("train", "eval", "test")] == [78, 12, 10]
    assert report["cuts"] == {"eval_from": "2020-09-13T12:28:00Z", "test_from": "2020-09-13T12:28:12Z"}


@pytest.mark.slow
def test_two_worker_processes_write_the_same(make_config: Callable, run: Callable) -> None:
    config = make_config(_random_log(), "parquet")
    alone = run(config)
    together = run(
        config, ("--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
    )
    assert together.examples == alone.examples
    assert together.report == alone.report
