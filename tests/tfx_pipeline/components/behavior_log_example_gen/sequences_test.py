"""Further histories by kind of event, as the component writes and audits them."""

from __future__ import annotations

import numpy as np
import pytest

from tfx_pipeline.components.behavior_log_example_gen import steps
from tfx_pipeline.errors import DataError, LeakageError

T0 = 1_600_000_000
HOUR = 3600
SEQUENCES = {"buys": {"events": ["buy"], "max_length": 2}, "carts": {"events": ["cart", "buy"], "max_length": 3}}
HISTORY = {"max_length": 3, "sequences": SEQUENCES}
BY_EVENT = {"columns": {"event": "kind"}}
KINDS = ["view", "cart", "view", "buy", "view", "cart", "buy", "view", "buy", None]


def _log() -> list[dict]:
    """Twelve users, an item clicked and one not in each of ten hours; kinds have nothing to do with labels."""
    rows = []
    for user in range(12):
        for number in range(10):
            for at in (0, 1):
                kind = KINDS[(number + 3 * at) % len(KINDS)]
                row = {"user_id": f"u{user}", "timestamp": T0 + number * HOUR + user, "label": 1 - at}
                rows.append(row | {"item_id": f"i{(user + 2 * number + at) % 20}", "kind": kind})
    return rows


def _expected(log, user, now, kinds, most):
    before = [row for row in log if row["user_id"] == user and row["timestamp"] < now and row["kind"] in kinds]
    return [(row["item_id"].encode(), now - row["timestamp"]) for row in before][-most:]


def test_a_history_is_the_last_events_of_its_kinds_whatever_their_label(make_config, run) -> None:
    log = _log()
    found = run(make_config(log, history=HISTORY, history_ages=True, interactions=BY_EVENT))
    plain = run(make_config(log, history={"max_length": 3}, history_ages=True))
    examples = [example for split in found.examples.values() for example in split]
    assert len(examples) == 120
    for example in examples:
        user, now = example["user_id"][0].decode(), example["request_time_us"][0] // 10**6
        for name, kinds, most in (("buys", ["buy"], 2), ("carts", ["cart", "buy"], 3)):
            pairs = _expected(log, user, now, kinds, most)
            assert example[f"history/{name}/item_id"] == [item for item, _ in pairs]
            assert example[f"history/{name}/age_s"] == np.float32([age for _, age in pairs]).tolist()

    def main(split):
        return sorted([(n, v) for n, v in sorted(one.items()) if not n.startswith("history/")] for one in split)

    # Impressions and the main history are what they are without.
    assert {name: main(split) for name, split in found.examples.items()} == {
        name: main(split) for name, split in plain.examples.items()
    }
    assert not any(found.report["audit"]["violations"].values())
    assert sum(found.report["history"]["further"]["buys"].values()) == 120


def test_without_a_column_events_are_labels_of_objectives(make_config, run) -> None:
    log = [row | {"bought": int(row["label"] and (int(row["item_id"][1:]) % 3 == 0))} for row in _log()]
    found = run(
        make_config(
            log,
            history={"sequences": {"buys": {"events": ["buy"], "max_length": 2}}},
            labels={"buy": {"column": "bought", "given": "label"}},
            event_labels={"buy": "bought"},
        )
    )
    for example in (example for split in found.examples.values() for example in split):
        user, now = example["user_id"][0].decode(), example["request_time_us"][0] // 10**6
        before = [r for r in log if r["user_id"] == user and r["timestamp"] < now and r["bought"]]
        assert example["history/buys/item_id"] == [row["item_id"].encode() for row in before][-2:]
        assert "history/buys/age_s" not in example


def test_a_kind_that_no_row_has_stops_the_run(make_config, run) -> None:
    history = {"sequences": {"buys": {"events": ["buy", "purchase"]}}}
    with pytest.raises(DataError, match=r"no row has the event 'purchase' in column 'kind'.*'buy', 'cart', 'view'"):
        run(make_config(_log(), history=history, interactions=BY_EVENT))


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        (lambda items, ages: ([*items[::-1], b"i1"], ages), "not the most recent"),
        (lambda items, ages: (items, ages * 2 + 1), "ages of a history are not"),
        (lambda items, ages: ([*items, *[b"i1"] * 9], ages), "longer than"),
    ],
)
def test_what_is_wrong_in_a_further_history_stops_the_run(make_config, run, monkeypatch, planted, rule) -> None:
    right = steps.encode

    def wrong(*args):
        *others, further = args
        items, ages = further["buys"]
        return right(*others, {**further, "buys": planted(list(items), ages)})

    monkeypatch.setattr(steps, "encode", wrong)
    with pytest.raises(LeakageError, match=rule):
        run(make_config(_log(), history=HISTORY, history_ages=True, interactions=BY_EVENT))
