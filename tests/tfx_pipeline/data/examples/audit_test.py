from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_pipeline.config.schema import History
from tfx_pipeline.data.examples.assembly import known_requests
from tfx_pipeline.data.examples.audit import RULES, Audit, UserAuditor
from tfx_pipeline.data.examples.encoding import encode
from tfx_pipeline.data.examples.history import histories
from tfx_pipeline.data.examples.requests import Request, UserRows, form_requests
from tfx_pipeline.data.examples.splits import Cuts

Rows = Callable[..., UserRows]
Built = list[tuple[str, list[bytes], Request]]
CUTS = Cuts(100, 200)
# One user's log: train before 100, eval before 200, then test. Histories hold two items.
EVENTS = [
    (10, "a", 1),
    (20, "b", 1),
    (30, "c", 0),
    (40, "d", 1),
    (110, "e", 1),
    (120, "f", 0),
    (210, "g", 1),
    (220, "h", 0),
]
LENGTH = 2


def _built(rows: UserRows, cuts: Cuts = CUTS, length: int = LENGTH, delay: int = 0, events: str = "positives") -> Built:
    formed = form_requests(rows, (cuts.eval_from_us, cuts.test_from_us), events)
    times = [request.time_us for request in formed.requests]
    known = histories(formed.event_times, formed.event_items, times, length, delay)
    return [(cuts.split_of(r.time_us), h, r) for r, (h, _) in zip(formed.requests, known, strict=True)]


def _audit(
    rows: UserRows,
    written: Built,
    cuts: Cuts = CUTS,
    length: int = LENGTH,
    delay: int = 0,
    events: str = "positives",
) -> Audit:
    history = History(max_length=length, delay_s=delay / 1e6, events=events)
    auditor = UserAuditor(b"u", rows, cuts, history)
    for split, history, request in written:
        auditor.check(split, encode(b"u", history, request, split, {}, {}))
    return auditor.finish()


def test_what_the_builder_makes_passes(user_rows: Rows) -> None:
    rows = user_rows(EVENTS)
    audit = _audit(rows, _built(rows))
    assert audit.checked == 8 and not audit.violations
    assert audit.history_lengths == [0, 1, 2, 2, 2, 2, 2, 2]
    # Closest: request at 20, event at 10. Farthest: request at 110 with (20, 40), or 210 with (40, 110).
    assert (audit.newest_age_us, audit.oldest_age_us) == (10, 170)


@pytest.mark.parametrize(
    ("request_time", "history", "rules"),
    [
        (20, ["b"], {"history_not_before_request"}),
        (20, ["d"], {"history_not_before_request"}),
        (20, ["a", "e"], {"history_not_before_request", "history_from_later_split"}),
        (110, ["g"], {"history_not_before_request", "history_from_later_split"}),
        (210, ["g"], {"history_not_before_request"}),
        (120, ["b", "d"], {"history_not_most_recent"}),
        (120, ["e", "d"], {"history_not_most_recent"}),
        (120, ["e"], {"history_not_most_recent"}),
        (120, ["d", "c"], {"history_not_most_recent"}),
        (120, ["d", "stranger"], {"history_not_most_recent"}),
        (120, ["d", "e", "e"], {"history_not_most_recent", "history_too_long"}),
        (120, ["b", "d", "e"], {"history_not_most_recent", "history_too_long"}),
    ],
)
def test_a_planted_history_is_found(user_rows: Rows, request_time: int, history: list[str], rules: set[str]) -> None:
    rows = user_rows(EVENTS)
    written = _built(rows)
    planted = [(s, [i.encode() for i in history] if r.time_us == request_time else h, r) for s, h, r in written]
    violations = _audit(rows, planted).violations
    assert violations == dict.fromkeys(rules, 1)
    assert set(violations) <= set(RULES)


AGES = {20: [10e-6], 30: [20e-6, 10e-6], 110: [90e-6, 70e-6], 120: [80e-6, 10e-6]}


@pytest.mark.parametrize(
    ("request_time", "ages", "wrong"),
    [
        (20, AGES[20], 0),
        (110, AGES[110], 0),
        (110, AGES[110][::-1], 1),
        (110, AGES[110][:1], 1),
        (110, [*AGES[110], 0.0], 1),
        (110, [], 1),
        # Seconds of events of another kind, of microseconds, and of the future.
        (110, [90.0, 70.0], 1),
        (110, [90e-6, -70e-6], 1),
        (110, [90e-6, math.nan], 1),
        # One bit of a float32.
        (110, [90e-6, float(np.nextafter(np.float32(70e-6), np.float32(1)))], 1),
    ],
)
def test_a_planted_age_is_found(user_rows: Rows, request_time: int, ages: list[float], wrong: int) -> None:
    rows = user_rows(EVENTS[:6])
    auditor = UserAuditor(b"u", rows, CUTS, History(max_length=LENGTH), ages=True)
    formed = form_requests(rows, CUTS.times)
    for known in known_requests(rows, formed, {}, History(max_length=LENGTH)):
        request, split = known.request, CUTS.split_of(known.request.time_us)
        own = known.ages_s()
        if request.time_us in AGES:
            assert own.tolist() == np.float32(AGES[request.time_us]).tolist()
        if request.time_us == request_time:
            own = np.array(ages, np.float32)
        auditor.check(split, encode(b"u", known.history, request, split, {}, {}, ages=own))
    assert auditor.finish().violations == ({"history_age_wrong": 1} if wrong else {})


def test_a_late_event_breaks_the_delay(user_rows: Rows) -> None:
    rows = user_rows(EVENTS)
    for delay in (0, 1, 10, 11):
        assert not _audit(rows, _built(rows, delay=delay), delay=delay).violations
    # Without the delay the requests at 20, 30, 120 and 220 know an event of 10 before.
    assert not _audit(rows, _built(rows, delay=0), delay=10).violations
    assert _audit(rows, _built(rows, delay=0), delay=11).violations == {"history_not_before_request": 4}


def test_a_request_in_the_wrong_split(user_rows: Rows) -> None:
    rows = user_rows(EVENTS)
    moved = [("train" if r.time_us == 110 else s, h, r) for s, h, r in _built(rows)]
    assert _audit(rows, moved).violations == {"request_in_wrong_split": 1}
    auditor = UserAuditor(b"u", rows, CUTS, History(max_length=LENGTH))
    for split, history, request in _built(rows):
        # Said to be eval, sent to train.
        auditor.check("train" if split == "eval" else split, encode(b"u", history, request, split, {}, {}))
    assert auditor.finish().violations == {"request_in_wrong_split": 2}


def test_a_request_across_a_cut_brings_no_later_label_into_train(user_rows: Rows) -> None:
    """A session's id on both sides of a cut: two requests; kept as one, the audit finds the later impressions."""
    rows = user_rows([(90, "a", 0, "s"), (110, "b", 1, "s"), (250, "c", 1, "s")], with_requests=True)
    written = _built(rows)
    assert [(s, r.time_us, r.candidates) for s, _, r in written] == [
        ("train", 90, [b"a"]),
        ("eval", 110, [b"b"]),
        ("test", 250, [b"c"]),
    ]
    assert not _audit(rows, written).violations
    whole = form_requests(rows).requests
    assert [request.candidates for request in whole] == [[b"a", b"b", b"c"]]
    assert _audit(rows, [("train", [], whole[0])]).violations == {"candidate_label_mismatch": 2}


def _relabelled(written: Built) -> Built:
    return [(s, h, Request(r.time_us, 0, r.candidates, [1 - r.labels[0]])) for s, h, r in written]


@pytest.mark.parametrize(
    ("change", "mismatches"),
    [
        (_relabelled, 8),
        (lambda written: written[1:], 1),
        (lambda written: [*written, written[3]], 1),
        (lambda written: [(s, h, Request(r.time_us, 0, [b"x"], r.labels)) for s, h, r in written[:2]] + written[2:], 2),
        (
            lambda written: [
                (s, h, Request(r.time_us, 0, [*r.candidates, b"c"], [*r.labels, 0])) for s, h, r in written
            ],
            8,
        ),
        (lambda written: [], 8),
    ],
)
def test_candidates_and_labels_are_those_of_the_log(user_rows: Rows, change: Callable, mismatches: int) -> None:
    rows = user_rows(EVENTS)
    assert _audit(rows, change(_built(rows))).violations["candidate_label_mismatch"] == mismatches


def test_weights_are_those_of_the_rows_that_stand_for_the_candidates(user_rows: Rows) -> None:
    rows = user_rows([(3, "a", 0, "r"), (1, "b", 0, "r"), (4, "a", 1, "r")], True, [1, 2, 3])
    (request,) = form_requests(rows).requests
    assert (request.candidates, request.labels) == ([b"b", b"a"], [0, 1])
    # b was shown once; a is merged into its first positive row.
    assert rows.weight is not None and rows.weight[request.rows].tolist() == [2, 3]
    for weights, mismatches in (([2, 3], 0), ([3, 2], 2), ([2], 3), (None, 4)):
        auditor = UserAuditor(b"u", rows, CUTS, History(max_length=LENGTH))
        auditor.check("train", encode(b"u", [], request, "train", {}, {}, weights))
        assert auditor.finish().violations["candidate_label_mismatch"] == mismatches


SHOWN = {"price": "numeric", "slot": "categorical"}
NAN = float("nan")


@pytest.mark.parametrize(
    ("prices", "slots", "mismatches"),
    [
        ([NAN, 2.5], [None, "top"], 0),
        ([2.5, NAN], [None, "top"], 2),
        ([NAN, 2.0], [None, "top"], 1),
        ([NAN, 2.5], ["top", None], 2),
        ([NAN, 2.5], [None, "other"], 1),
        ([NAN], [None, "top"], 3),
        ([NAN, 2.5], [None], 3),
    ],
)
def test_columns_are_those_of_the_rows_that_stand_for_the_candidates(
    user_rows: Rows, prices: list[float], slots: list[str | None], mismatches: int
) -> None:
    columns = {"price": [9.0, NAN, 2.5], "slot": ["first", None, "top"]}
    rows = user_rows([(3, "a", 0, "r"), (1, "b", 0, "r"), (4, "a", 1, "r")], True, (), columns)
    (request,) = form_requests(rows).requests
    auditor = UserAuditor(b"u", rows, CUTS, History(max_length=LENGTH), candidate=SHOWN)
    shown = {"price": prices, "slot": [slot and slot.encode() for slot in slots]}
    auditor.check("train", encode(b"u", [], request, "train", {}, {}, None, shown, SHOWN))
    assert auditor.finish().violations["candidate_label_mismatch"] == mismatches


CONTEXT = {"device": "categorical", "hour": "numeric", "tags": "categorical"}


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, 0),
        ({"tags": [b"y", b"x"]}, 1),
        ({"tags": [b"x"]}, 1),
        ({"tags": []}, 1),
        # Those of the request's later row.
        ({"tags": [b"later"]}, 1),
        ({"device": b"tv"}, 1),
        ({"device": None}, 1),
        ({"hour": 3.5}, 1),
        ({"hour": None}, 0),
        ({"device": b"tv", "hour": 3.5}, 1),
    ],
)
def test_context_is_that_of_the_requests_first_row(user_rows: Rows, changes: dict, broken: int) -> None:
    rows = user_rows([(1, "a", 0, "r"), (4, "b", 1, "r"), (1, "c", 0, "s")], True)
    rows.columns |= {
        "device": [b"phone", b"phone", b"tv"],
        "hour": [NAN, 2.5, 3.5],
        "tags": [[b"x", b"y"], [], [b"later"]],
    }
    first, other = form_requests(rows).requests
    assert (first.time_us, first.candidates, other.time_us) == (1, [b"a", b"b"], 1)
    auditor = UserAuditor(b"u", rows, CUTS, History(max_length=LENGTH), context=CONTEXT)
    for request, own in ((first, changes), (other, {})):
        columns = {name: rows.columns[name][request.first_row] for name in CONTEXT} | own
        auditor.check("train", encode(b"u", [], request, "train", columns, CONTEXT))
    assert auditor.finish().violations == ({"context_not_of_request": broken} if broken else {})


def test_missing_values_keep_the_place_of_their_candidate(user_rows: Rows) -> None:
    rows = user_rows([(1, "a", 0), (1, "b", 0)])
    (request,) = form_requests(rows).requests
    data = encode(b"u", [], request, "train", {}, {}, None, {"price": [None, 2.0], "slot": [b"x", None]}, SHOWN)
    feature = tf.train.Example.FromString(data).features.feature
    assert str(list(feature["price"].float_list.value)) == "[nan, 2.0]"
    assert list(feature["slot"].bytes_list.value) == [b"x", b""]


def test_labels_of_further_objectives_are_derived_again(user_rows: Rows) -> None:
    events = [(3, "a", 1, "r"), (1, "b", 0, "r"), (4, "a", 1, "r")]
    rows = user_rows(events, True, further={"buy": [0, 0, 1]})
    (request,) = form_requests(rows).requests
    assert request.further_labels == {"label/buy": [0, 1]}
    for labels, mismatches in (([0, 1], 0), ([1, 0], 2), ([0, 0], 1), ([0], 3)):
        auditor = UserAuditor(b"u", rows, CUTS, History(max_length=LENGTH))
        request.further_labels = {"label/buy": labels}
        auditor.check("train", encode(b"u", [], request, "train", {}, {}))
        assert auditor.finish().violations["candidate_label_mismatch"] == mismatches


def test_an_example_of_another_user(user_rows: Rows) -> None:
    rows = user_rows(EVENTS[:1])
    auditor = UserAuditor(b"u", rows, CUTS, History(max_length=LENGTH))
    ((split, history, request),) = _built(rows)
    example = tf.train.Example.FromString(encode(b"other", history, request, split, {}, {}))
    auditor.check(split, example.SerializeToString())
    assert auditor.finish().violations == {"candidate_label_mismatch": 1}


EVENT = st.tuples(
    st.integers(0, 12), st.sampled_from("abcd"), st.integers(0, 1), st.none() | st.sampled_from(["r", "s", "t"])
)


@settings(max_examples=300, deadline=None)
@given(
    events=st.lists(EVENT, min_size=1, max_size=14),
    with_requests=st.booleans(),
    length=st.integers(1, 3),
    delay=st.integers(0, 4),
    kind=st.sampled_from(["positives", "all"]),
    data=st.data(),
)
def test_builder_oracle_and_audit_agree(
    user_rows: Rows, events: list, with_requests: bool, length: int, delay: int, kind: str, data: st.DataObject
) -> None:
    """The builder equals a quadratic reading of the definition, the audit agrees, and finds any change of a history."""
    rows = user_rows(events, with_requests)
    cuts = Cuts(4, 8)
    written = _built(rows, cuts, length, delay, kind)

    ordered = sorted(enumerate(events), key=lambda numbered: (numbered[1][0], numbered[0]))
    keys = [(event[3] if with_requests and event[3] else event[0], cuts.split_of(event[0])) for _, event in ordered]
    expected = []
    past = []
    for key in dict.fromkeys(keys):
        own = [(place, event) for place, (_, event) in enumerate(ordered) if keys[place] == key]
        names = list(dict.fromkeys(event[1] for _, event in own))
        labels = [max(event[2] for _, event in own if event[1] == name) for name in names]
        expected.append((own[0][1][0], names, labels))
        for name in names:
            shown = [(place, event) for place, event in own if event[1] == name]
            clicked = [(place, event) for place, event in shown if event[2]]
            past += (clicked or shown)[:1] if kind == "all" else clicked[:1]
    past.sort()
    assert [(r.time_us, [c.decode() for c in r.candidates], r.labels) for _, _, r in written] == expected
    for _, history, request in written:
        time = request.time_us
        known = [event[1] for _, event in past if event[0] < time and event[0] <= time - delay]
        assert [item.decode() for item in history] == known[-length:]
    assert not _audit(rows, written, cuts, length, delay, kind).violations

    at = data.draw(st.integers(0, len(written) - 1))
    split, history, request = written[at]
    other = data.draw(
        st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), max_size=4).filter(lambda h: h != history)
    )
    written[at] = (split, other, request)
    assert _audit(rows, written, cuts, length, delay, kind).violations.total() >= 1
