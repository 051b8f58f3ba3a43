"""Ages of the events of histories, as the component writes and audits them."""

from __future__ import annotations

import numpy as np
import pytest

from tfx_pipeline.data.examples import assembly
from tfx_pipeline.errors import LeakageError

T0 = 1_600_000_000
DAY = 86_400
HISTORY = {"max_length": 3}


def _log() -> list[dict]:
    """Twelve users that click an item in each of ten requests, at distances of their own."""
    rows = []
    for user in range(12):
        for number in range(10):
            shown = {"user_id": f"u{user}", "timestamp": T0 + number * DAY + user * number * 60}
            rows += [shown | {"item_id": f"i{(user + number + at) % 20}", "label": 1 - at} for at in (0, 1)]
    return rows


def test_each_item_of_a_history_has_the_age_of_its_event(make_config, run) -> None:
    log = _log()
    found = run(make_config(log, history=HISTORY, history_ages=True))
    at = {(row["user_id"], row["item_id"]): row["timestamp"] for row in log if row["label"]}
    examples = [example for split in found.examples.values() for example in split]
    assert sum(not example["history_item_id"] for example in examples) == 12
    for example in examples:
        user, now = example["user_id"][0].decode(), example["request_time_us"][0] / 1e6
        ages = [now - at[user, item.decode()] for item in example["history_item_id"]]
        assert example["history_age_s"] == np.float32(ages).tolist()
    assert not any(found.report["audit"]["violations"].values())


def test_without_ages_no_example_has_any(make_config, run) -> None:
    found = run(make_config(_log(), history=HISTORY))
    assert not [1 for split in found.examples.values() for example in split if "history_age_s" in example]


def test_ages_that_are_wrong_stop_the_run(make_config, run, monkeypatch) -> None:
    right = assembly.ages_s
    # Seconds since the event's day began, say: the difference of two rounded times.
    monkeypatch.setattr(assembly, "ages_s", lambda now, events: right(now // 10**9 * 10**9, events))
    with pytest.raises(LeakageError, match="ages of a history are not the seconds"):
        run(make_config(_log(), history=HISTORY, history_ages=True))


def test_given_histories_have_the_ages_of_their_times(make_config, run) -> None:
    log = [row | {"past": "i1 i2 i3", "when": f"{T0 - 50} {T0 - 7} {T0 + 5 * DAY}"} for row in _log()]
    given = {"columns": {"history": {"column": "past", "times": "when", "separator": " "}}}
    found = run(make_config(log, interactions=given, history_ages=True, data={"max_bad_fraction": 1}))
    for example in (example for split in found.examples.values() for example in split):
        now = example["request_time_us"][0] // 10**6
        known = [at for at in (T0 - 50, T0 - 7, T0 + 5 * DAY) if at < now]
        assert example["history_age_s"] == [float(np.float32(now - at)) for at in known]
