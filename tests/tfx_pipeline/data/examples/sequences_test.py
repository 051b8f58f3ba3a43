"""Further histories: what is built, and what the audit finds in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_pipeline.config.schema import History
from tfx_pipeline.data.examples.assembly import known_requests
from tfx_pipeline.data.examples.audit import UserAuditor
from tfx_pipeline.data.examples.encoding import encode
from tfx_pipeline.data.examples.requests import form_requests
from tfx_pipeline.data.examples.splits import Cuts

CUTS = Cuts(100, 200)
EVENTS = [(10, "a", 1), (20, "b", 0), (30, "c", 0), (40, "d", 1), (110, "e", 0), (120, "f", 1), (210, "g", 0)]
BUYS = [0, 1, 1, 0, 1, 0, 1]
HISTORY = History.model_validate({"max_length": 2, "sequences": {"buys": {"events": ["buy"], "max_length": 2}}})


def _audit(rows, history, planted=None):
    """What the audit finds once the further history of the request at a time is another, with its ages."""
    auditor = UserAuditor(b"u", rows, CUTS, history, ages=True)
    for known in known_requests(rows, form_requests(rows, CUTS.times), {}, history):
        request, split = known.request, CUTS.split_of(known.request.time_us)
        further = known.further_for_encoding(True)
        if planted is not None and request.time_us == planted[0]:
            items = [item.encode() for item in planted[1]]
            further = {"buys": (items, np.array(planted[2], np.float32))}
        data = encode(b"u", known.history, request, split, {}, {}, ages=known.ages_s(), further=further)
        auditor.check(split, data)
    return auditor.finish()


def test_events_count_whatever_their_label(user_rows) -> None:
    rows = user_rows(EVENTS, kinds={"buys": BUYS})
    built = [known.further["buys"][0] for known in known_requests(rows, form_requests(rows), {}, HISTORY)]
    assert built == [[], [], [b"b"], [b"b", b"c"], [b"b", b"c"], [b"c", b"e"], [b"c", b"e"]]
    audit = _audit(rows, HISTORY)
    assert not audit.violations and audit.further_lengths == {"buys": [0, 0, 1, 2, 2, 2, 2]}


RIGHT = [90e-6, 10e-6]


@pytest.mark.parametrize(
    ("time", "items", "ages", "rules"),
    [
        (120, ["c", "e"], RIGHT, set()),
        (120, ["e", "c"], RIGHT, {"history_not_most_recent"}),
        (120, ["b", "c"], RIGHT, {"history_not_most_recent"}),
        (120, ["b", "c", "e"], RIGHT, {"history_not_most_recent", "history_too_long"}),
        (120, ["a", "e"], RIGHT, {"history_not_most_recent"}),
        (120, [], [], {"history_not_most_recent"}),
        (20, ["b"], [0.0], {"history_not_before_request"}),
        (110, ["c", "g"], RIGHT, {"history_not_before_request", "history_from_later_split"}),
        (120, ["c", "e"], RIGHT[::-1], {"history_age_wrong"}),
        (120, ["c", "e"], RIGHT[:1], {"history_age_wrong"}),
        (120, ["c", "e"], [90e-6, float("nan")], {"history_age_wrong"}),
    ],
)
def test_a_planted_history_is_found(user_rows, time, items, ages, rules) -> None:
    rows = user_rows(EVENTS, kinds={"buys": BUYS})
    assert set(_audit(rows, HISTORY, (time, items, ages)).violations) == rules


def test_an_impression_is_one_event_at_its_first_row_of_the_kind(user_rows) -> None:
    """Rows of one request and item: seen, bought, bought again."""
    events = [(10, "a", 0, b"r"), (11, "a", 0, b"r"), (12, "a", 1, b"r"), (20, "b", 0, b"s")]
    rows = user_rows([(t, i, y, r.decode()) for t, i, y, r in events], True, kinds={"buys": [0, 1, 1, 0]})
    assert form_requests(rows).further_events == {"buys": ([11], [b"a"])}
    assert not _audit(rows, HISTORY).violations


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from("abcd"), st.integers(0, 1), st.booleans()), max_size=20),
    st.integers(1, 4),
    st.sampled_from([0, 1, 50]),
)
def test_the_builder_and_the_audit_agree(user_rows, rows, length, delay) -> None:
    if not rows:
        return
    built = user_rows([row[:3] for row in rows], kinds={"buys": [int(row[3]) for row in rows]})
    sequences = {"buys": {"events": ["buy"], "max_length": length}}
    history = History.model_validate({"max_length": 3, "delay_s": delay / 1e6, "sequences": sequences})
    assert not _audit(built, history).violations
