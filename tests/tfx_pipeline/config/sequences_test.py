"""Key `history.sequences`."""

from __future__ import annotations

import pytest

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.label import Label

EVENT = "data.interactions.columns.event=event_type"
BUYS = "history.sequences={buys: {events: [buy], max_length: 20}}"
TWO = "objectives={click: {}, buy: {label: bought, given: click}}"


def test_without_the_key_nothing_new_is_recorded(load):
    plain = IngestionConfig.of(load()).to_json()
    assert "sequences" not in plain and '"event"' not in plain and "event_labels" not in plain


def test_events_are_values_of_a_column(load):
    config = IngestionConfig.of(load(EVENT, BUYS))
    assert IngestionConfig.model_validate_json(config.to_json()) == config
    assert config.history.longest_sequences == {"buys": 20} and "event_type" in config.log_columns
    assert not config.event_labels
    assert load(EVENT, "history.sequences={buys: {events: [4, 5]}}").history.sequences["buys"].events == ["4", "5"]


def test_events_are_objectives_without_such_a_column(load):
    config = IngestionConfig.of(load(TWO, BUYS))
    assert config.event_labels == {"buy": "bought"}
    assert IngestionConfig.of(load(TWO, BUYS.replace("[buy]", "[click]"))).event_labels.keys() == {"click"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([BUYS], "history.sequences: buys, but nothing says which event is of which kind"),
        ([EVENT], "columns.event: 'event_type' is read for history.sequences alone"),
        ([TWO, BUYS.replace("[buy]", "[cart]")], "history.sequences.buys.events: 'cart' is no objective"),
        ([EVENT, BUYS.replace("[buy]", "[]")], "history.sequences.buys.events"),
        ([EVENT, BUYS.replace("20", "0")], "history.sequences.buys.max_length"),
        ([EVENT, BUYS.replace("buys", "my-buys")], "'my-buys' must be letters, digits and underscores"),
        ([EVENT, BUYS.replace("max_length", "length")], "history.sequences.buys.length"),
        ([EVENT, BUYS, "data.interactions.columns.history={column: past}"], "the log gives the history"),
        (
            [EVENT, BUYS, "data.interactions.impressions={separator: ' '}"],
            "whose events are of no one kind; name objectives in history.sequences",
        ),
        (
            [EVENT, f"history.sequences={{{', '.join(f's{n}: {{events: [a]}}' for n in range(5))}}}"],
            "history.sequences",
        ),
    ],
)
def test_what_is_refused(refusal, overrides, message):
    problems = refusal(*overrides)
    assert [problem for problem in problems if message in problem], problems


def test_a_label_says_that_a_model_goes_without():
    assert Label.parse("dmf~sequences", ["text"]).without == ("sequences",)
