"""Further histories of a request: the user's events of some kinds, beside the main history."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from tfx_pipeline.config.names import check_names
from tfx_pipeline.config.tables import Interactions
from tfx_pipeline.config.values import Integer, Section

# Each is a part of an explanation, which has the logits of all 2^parts coalitions.
MAX_SEQUENCES = 4


def _as_text(value: object) -> object:
    # Kinds of events are often numbers, and text once they are read.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class EventSequence(Section):
    """A further history: the items of the user's last events of some kinds strictly before the request."""

    events: list[Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]] = Field(
        min_length=1,
        description="kinds of events: values of `data.interactions.columns.event` or, without that column, names of "
        "objectives, whose events are the rows with label 1",
    )
    max_length: Integer = Field(50, ge=1, le=10_000, description="the oldest are dropped")


def check_sequence_names(named: dict[str, EventSequence]) -> dict[str, EventSequence]:
    """Refuses names of histories that are no words."""
    return check_names(named, reserved=())


def check_sequences(sequences: Mapping[str, EventSequence], log: Interactions, objectives: Collection[str]) -> None:
    """Refuses histories that the log cannot have.

    Args:
        sequences: `history.sequences`.
        log: the section.
        objectives: names.

    Raises:
        ValueError: with the key and what is expected.
    """
    columns = log.columns
    if columns.event is not None and log.impressions is not None:
        raise ValueError(
            f"data.interactions.columns.event: '{columns.event}', but a row of the log is a list of impressions "
            "(data.interactions.impressions), whose events are of no one kind; name objectives in history.sequences"
        )
    if columns.event is not None and not sequences:
        raise ValueError(
            f"data.interactions.columns.event: '{columns.event}' is read for history.sequences alone, and there are "
            "none; name some, or leave the column out"
        )
    if not sequences:
        return
    if columns.history is not None:
        raise ValueError(
            f"history.sequences: {', '.join(sequences)}, but data.interactions.columns.history says that the log gives "
            "the history; histories by kind of event are made of rows: leave one of the two out"
        )
    if columns.event is None and not objectives:
        raise ValueError(
            f"history.sequences: {', '.join(sequences)}, but nothing says which event is of which kind; name the "
            "column in data.interactions.columns.event, or have several `objectives`"
        )
    for name, sequence in sequences.items():
        unknown = [] if columns.event is not None else [each for each in sequence.events if each not in objectives]
        if unknown:
            raise ValueError(
                f"history.sequences.{name}.events: '{unknown[0]}' is no objective; without "
                f"data.interactions.columns.event kinds of events are objectives: {', '.join(objectives)}"
            )
