"""Histories that the log gives: brought to their user, cut to what was known, and audited."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_pipeline.config.schema import History
from tfx_pipeline.data.examples.assembly import known_requests
from tfx_pipeline.data.examples.audit import UserAuditor
from tfx_pipeline.data.examples.encoding import encode
from tfx_pipeline.data.examples.given import GivenHistory
from tfx_pipeline.data.examples.given_audit import GivenHistoryAuditor
from tfx_pipeline.data.examples.requests import Request, UserRows, form_requests, split_by_user
from tfx_pipeline.data.examples.splits import Cuts
from tfx_pipeline.data.logs.cleaning import CleanBatch
from tfx_pipeline.data.logs.impressions import Histories

CUTS = Cuts(100, 200)
# (user, time, items with labels, history as (item, time))
Row = tuple[str, int, list[tuple[str, int]], list[tuple[str, int]]]


def _by_user(rows: list[Row], with_times: bool = True, batch: int = 3) -> dict[str, UserRows]:
    """Rows on the way of real ones: cut into batches, each split by user, joined in reverse."""
    chunks: dict[str, list] = {}
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        of = np.repeat(np.arange(len(part)), [len(row[2]) for row in part])
        events = [event for row in part for event in row[3]]
        histories = Histories(
            of,
            np.array([len(row[3]) for row in part], np.int64),
            pa.array([item.encode() for item, _ in events], pa.large_binary()),
            np.array([time for _, time in events], np.int64) if with_times else None,
        )
        shown = [pair for row in part for pair in row[2]]
        clean = CleanBatch(
            row=of + start + 1,
            user=pa.array([part[place][0].encode() for place in of], pa.large_binary()),
            item=pa.array([item.encode() for item, _ in shown], pa.large_binary()),
            time_us=np.array([part[place][1] for place in of], np.int64),
            label=np.array([label for _, label in shown], np.int8),
            request=None,
            weight=None,
            columns={},
            history=histories,
        )
        for user, chunk in split_by_user(clean, 0):
            chunks.setdefault(user, []).append(chunk)
    return {user: UserRows.from_chunks(parts[::-1], ()) for user, parts in chunks.items()}


_EVENT = st.tuples(st.sampled_from("abc"), st.integers(0, 300))
_ROWS = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.integers(0, 300),
        st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 1)), min_size=1, max_size=3),
        st.lists(_EVENT, max_size=5).map(lambda events: sorted(events, key=lambda event: event[1])),
    ),
    min_size=1,
    max_size=10,
    # A request is a user and a time.
    unique_by=lambda row: row[:2],
)


@given(_ROWS, st.booleans(), st.integers(1, 3), st.integers(0, 50))
@settings(max_examples=150, deadline=None)
def test_requests_have_their_own_history_and_pass_the_audit(
    rows: list[Row], with_times: bool, length: int, delay: int
) -> None:
    history = History(max_length=length, delay_s=delay / 1e6)
    facts: Counter[str] = Counter()
    for user, user_rows in _by_user(rows, with_times).items():
        formed = form_requests(user_rows, CUTS.times)
        auditor = UserAuditor(user.encode(), user_rows, CUTS, history, ages=with_times)
        for one in known_requests(user_rows, formed, {}, history):
            request, items, columns, *_ = one
            (row,) = (row for row in rows if row[:2] == (user, request.time_us))
            known = [i for i, at in row[3] if not with_times or (at < row[1] and at <= row[1] - delay)]
            assert [item.decode() for item in items] == known[-length:]
            split = CUTS.split_of(request.time_us)
            ages = one.ages_s() if with_times else None
            auditor.check(split, encode(user.encode(), items, request, split, columns, {}, ages=ages))
        audit = auditor.finish()
        assert not audit.violations and (audit.newest_age_us is None or with_times)
        facts.update(audit.given)
    events = [(at, row[1]) for row in rows for _, at in row[3]]
    assert facts["requests"] == len(rows) and facts["events"] == len(events)
    assert facts["from_future"] == sum(at >= time for at, time in events if with_times)
    assert facts["held_back"] == sum(time > at > time - delay for at, time in events if with_times)


ONE: list[Row] = [("u", 150, [("x", 1), ("y", 0)], [("a", 10), ("b", 20), ("c", 140), ("d", 150), ("e", 250)])]


@pytest.mark.parametrize(
    ("written", "rules"),
    [
        ("bc", set()),
        ("cd", {"history_not_before_request"}),
        ("be", {"history_not_before_request"}),
        ("ab", {"history_not_as_given"}),
        ("cb", {"history_not_as_given"}),
        ("c", {"history_not_as_given"}),
        ("", {"history_not_as_given"}),
        ("xb", {"history_not_as_given"}),
        ("abc", {"history_too_long", "history_not_as_given"}),
        ("bcd", {"history_too_long", "history_not_before_request"}),
    ],
)
def test_planted_histories_are_found_out(written: str, rules: set[str]) -> None:
    (rows,) = _by_user(ONE).values()
    auditor = UserAuditor(b"u", rows, CUTS, History(max_length=2))
    request = Request(150, 0, [b"x", b"y"], [1, 0])
    auditor.check("eval", encode(b"u", [item.encode() for item in written], request, "eval", {}, {}))
    assert set(auditor.finish().violations) == rules


def test_without_times_order_and_length_are_checked() -> None:
    (rows,) = _by_user(ONE, with_times=False).values()
    auditor = GivenHistoryAuditor(rows, np.zeros(2, int), 2, 0)
    assert auditor.check(150, [b"e", b"d"], set()).broken == ["history_not_as_given"]
    found = auditor.check(150, [b"d", b"e"], {b"e"})
    assert found.broken == [] and found.ages_us == [] and found.facts["ends_in_own_positive"] == 1
    # Each history of the log is that of one request.
    assert auditor.check(150, [b"d", b"e"], set()).broken == ["history_not_as_given"]


def test_what_was_known_at_a_time() -> None:
    history = GivenHistory([b"a", b"b", b"c"], np.array([1, 5, 5]))
    assert history.known_at(5, History()).items == [b"a"]
    items, times = history.known_at(6, History(max_length=1))
    assert (items, times.tolist()) == ([b"c"], [5])
    assert history.known_at(6, History(delay_s=2e-6)).items == [b"a"]
    assert history.known_at(1, History()).items == []
    assert GivenHistory([b"a", b"b"], None).known_at(0, History(max_length=1)) == ([b"b"], None)


@pytest.mark.parametrize(
    ("ages", "rules"),
    [
        ([130e-6, 10e-6], set()),
        ([10e-6, 130e-6], {"history_age_wrong"}),
        ([130e-6], {"history_age_wrong"}),
        ([130.0, 10.0], {"history_age_wrong"}),
        (None, {"history_age_wrong"}),
    ],
)
def test_planted_ages_are_found_out(ages: list[float] | None, rules: set[str]) -> None:
    (rows,) = _by_user(ONE).values()
    auditor = UserAuditor(b"u", rows, CUTS, History(max_length=2), ages=True)
    request, own = Request(150, 0, [b"x", b"y"], [1, 0]), None if ages is None else np.array(ages, np.float32)
    auditor.check("eval", encode(b"u", [b"b", b"c"], request, "eval", {}, {}, ages=own))
    assert set(auditor.finish().violations) == rules


def test_ages_of_histories_without_times_cannot_be_asked_for() -> None:
    (rows,) = _by_user(ONE, with_times=False).values()
    (known,) = known_requests(rows, form_requests(rows, CUTS.times), {}, History())
    with pytest.raises(ValueError, match="without times"):
        known.ages_s()
