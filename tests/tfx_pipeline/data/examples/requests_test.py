from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from tfx_pipeline.data.examples.requests import UserRows, form_requests, split_by_user
from tfx_pipeline.data.logs.cleaning import CleanBatch

Rows = Callable[..., UserRows]


def _shown(rows: UserRows) -> list[tuple[int, str, list[int]]]:
    return [(r.time_us, b"".join(r.candidates).decode(), r.labels) for r in form_requests(rows).requests]


def test_without_ids_a_request_is_an_instant(user_rows: Rows) -> None:
    rows = user_rows([(2, "c", 0), (1, "a", 1), (2, "b", 1), (1, "d", 0)])
    assert _shown(rows) == [(1, "ad", [1, 0]), (2, "cb", [0, 1])]


def test_ids_group_over_time_and_separate_one_instant(user_rows: Rows) -> None:
    rows = user_rows(
        [
            (5, "a", 0, "r1"),
            (5, "b", 1, "r2"),
            (7, "c", 1, "r1"),
            (5, "d", 0, None),
            (5, "e", 0, None),
            (9, "f", 0, None),
        ],
        with_requests=True,
    )
    assert _shown(rows) == [(5, "ac", [0, 1]), (5, "b", [1]), (5, "de", [0, 0]), (9, "f", [0])]


def test_a_cut_divides_a_request(user_rows: Rows) -> None:
    rows = user_rows([(5, "a", 1, "r"), (8, "b", 1, "r"), (8, "c", 0, "q")], with_requests=True)
    divided = form_requests(rows, (8, 20)).requests
    assert [(r.time_us, r.candidates) for r in divided] == [(5, [b"a"]), (8, [b"b"]), (8, [b"c"])]


def test_order_of_the_log_breaks_ties_across_files() -> None:
    def batch(items: str, rows: list[int], times: list[int]) -> CleanBatch:
        n = len(items)
        return CleanBatch(
            row=np.array(rows),
            user=pa.array([b"u"] * n, pa.large_binary()),
            item=pa.array([item.encode() for item in items], pa.large_binary()),
            time_us=np.array(times),
            label=np.ones(n, np.int8),
            request=None,
            weight=None,
            columns={"place": pa.array([f"{item}!".encode() for item in items], pa.large_binary())},
        )

    chunks = [
        *(chunk for _, chunk in split_by_user(batch("dc", [2, 1], [5, 5]), ordinal=1)),
        *(chunk for _, chunk in split_by_user(batch("ba", [9, 3], [5, 5]), ordinal=0)),
        *(chunk for _, chunk in split_by_user(batch("z", [1], [4]), ordinal=2)),
    ]
    rows = UserRows.from_chunks(chunks, ["place"])
    assert b"".join(rows.item) == b"zabcd"
    assert rows.columns["place"] == [b"z!", b"a!", b"b!", b"c!", b"d!"]
    formed = form_requests(rows)
    assert (formed.event_times, formed.event_items) == ([4, 5, 5, 5, 5], [b"z", b"a", b"b", b"c", b"d"])
    assert [request.first_row for request in formed.requests] == [0, 1]


def test_exact_duplicates_are_kept_once(user_rows: Rows) -> None:
    rows = user_rows([(1, "a", 1), (1, "b", 0), (1, "a", 1), (1, "a", 1), (2, "a", 1)])
    formed = form_requests(rows)
    assert _shown(rows) == [(1, "ab", [1, 0]), (2, "a", [1])]
    assert (formed.duplicates, formed.merged_labels) == (2, 0)
    assert (formed.event_times, formed.event_items) == ([1, 2], [b"a", b"a"])


def test_one_item_with_two_labels_is_one_positive_candidate(user_rows: Rows) -> None:
    rows = user_rows([(1, "a", 0), (1, "b", 0), (1, "a", 1)])
    formed = form_requests(rows)
    assert _shown(rows) == [(1, "ab", [1, 0])]
    assert (formed.duplicates, formed.merged_labels) == (0, 1)
    assert formed.event_items == [b"a"]


def test_a_click_that_is_logged_later_in_its_request_is_one_event(user_rows: Rows) -> None:
    rows = user_rows(
        [(1, "a", 0, "r"), (4, "a", 1, "r"), (6, "a", 1, "r"), (5, "x", 1, "other")],
        with_requests=True,
    )
    formed = form_requests(rows)
    assert _shown(rows) == [(1, "a", [1]), (5, "x", [1])]
    assert (formed.event_times, formed.event_items) == ([4, 5], [b"a", b"x"])
    assert formed.merged_labels == 2


def test_events_may_be_all_that_was_shown(user_rows: Rows) -> None:
    rows = user_rows(
        [(1, "a", 0, "r"), (2, "b", 0, "r"), (3, "b", 0, "r"), (4, "a", 1, "r"), (4, "c", 0, "s"), (4, "c", 0, "s")],
        with_requests=True,
    )
    formed = form_requests(rows, events="all")
    # The click on a is logged after its impression; c is there twice by a duplicate row.
    assert (formed.event_times, formed.event_items) == ([2, 4, 4], [b"b", b"a", b"c"])
    assert form_requests(rows).event_items == [b"a"]


def test_split_by_user_keeps_every_row_with_its_user() -> None:
    users = [b"b", b"a", b"b", b"c", b"a"]
    batch = CleanBatch(
        row=np.arange(1, 6),
        user=pa.array(users, pa.large_binary()),
        item=pa.array([b"1", b"2", b"3", b"4", b"5"], pa.large_binary()),
        time_us=np.arange(5),
        label=np.zeros(5, np.int8),
        request=pa.array([b"r", None, b"r", b"s", None], pa.large_binary()),
        weight=None,
        columns={"hour": np.arange(5, dtype=np.float32)},
    )
    by_user = {user: UserRows.from_chunks([chunk], ["hour"]) for user, chunk in split_by_user(batch, 0)}
    assert {user: rows.item for user, rows in by_user.items()} == {"b": [b"1", b"3"], "a": [b"2", b"5"], "c": [b"4"]}
    assert by_user["a"].request == [None, None] and by_user["b"].request == [b"r", b"r"]
    assert by_user["a"].columns == {"hour": [1.0, 4.0]}
    nothing = np.array([], np.int64)
    empty = CleanBatch(nothing, batch.user[:0], batch.item[:0], nothing, nothing.astype(np.int8), None, None, {})
    assert list(split_by_user(empty, 0)) == []


def test_a_merged_candidate_is_positive_for_an_objective_if_one_of_its_rows_is(user_rows: Rows) -> None:
    events = [(1, "a", 1, "r"), (2, "a", 1, "r"), (1, "b", 0, "r"), (1, "b", 0, "r"), (3, "b", 1, "r")]
    formed = form_requests(user_rows(events, True, further={"buy": [0, 1, 0, 0, 0], "like": [0, 0, 0, 1, 0]}))
    (request,) = formed.requests
    assert (request.candidates, request.labels) == ([b"a", b"b"], [1, 1])
    assert request.further_labels == {"label/buy": [1, 0], "label/like": [0, 1]}
    # Rows of b at one moment differ in a label, and so are no duplicates.
    assert (formed.duplicates, formed.merged_labels) == (0, 3)
