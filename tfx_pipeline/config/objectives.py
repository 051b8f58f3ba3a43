"""The section about objectives: what a model predicts of an impression, when that is more than one thing.

The first objective is the main one. Its label is that of the log (`data.interactions.columns.label`); histories,
calibration and metrics without a prefix go by it.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping

from pydantic import Field

from dmf_keras.models.inputs import ObjectiveSpec
from tfx_pipeline.config.tables import InteractionColumns
from tfx_pipeline.config.values import Number, Section

# Also the names of a formula, which is why Python's own words are none.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Objective(Section):
    """One thing that a model predicts of an impression."""

    label: str | None = Field(
        None, min_length=1, description="column of the log; of the first objective that of `data.interactions.columns`"
    )
    given: str | None = Field(
        None,
        description="an objective above, without which this one cannot happen: the model learns p(this given that), "
        "from all impressions, through the product",
    )
    weight: Number = Field(1.0, gt=0, description="of its loss in the sum")


Objectives = dict[str, Objective]


class FurtherLabel(Section):
    """What ingestion reads for an objective beside the main one: its column, and that of its condition."""

    column: str
    given: str | None = None


def check(objectives: Mapping[str, Objective], columns: InteractionColumns) -> None:
    """Refuses objectives that nobody could train.

    Args:
        objectives: the section.
        columns: of the log.

    Raises:
        ValueError: with the key and what is expected.
    """
    if not objectives:
        return
    if len(objectives) < 2:
        raise ValueError("objectives: one alone is what a run without the section has; name a second, or leave it out")
    if columns.label is None:
        raise ValueError(
            "objectives: data.interactions.columns.label is null, so that every row is a positive and negatives are "
            "drawn; several objectives need a log that says what came of each impression"
        )
    taken: dict[str, str] = {}
    for place, (name, objective) in enumerate(objectives.items()):
        key = f"objectives.{name}"
        if not _NAME.fullmatch(name) or keyword.iskeyword(name):
            raise ValueError(
                f"{key}: a name is letters, digits and underscores, begins with a letter and is no word of Python's"
            )
        label = objective.label
        if place == 0:
            if label not in (None, columns.label):
                raise ValueError(
                    f"{key}.label: the first objective's label is data.interactions.columns.label, '{columns.label}'; "
                    f"got '{label}': set both to one column"
                )
            label = columns.label
        elif label is None:
            raise ValueError(f"{key}.label: required, but absent; only the first objective has that of the log")
        if label in taken:
            raise ValueError(f"{key}.label: '{label}' is already the label of '{taken[label]}'")
        if objective.given is not None and objective.given not in taken.values():
            above = ", ".join(taken.values()) or "none: it is the first"
            raise ValueError(f"{key}.given: should be an objective above it ({above}), got '{objective.given}'")
        taken[label] = name


def further_labels(objectives: Mapping[str, Objective], columns: InteractionColumns) -> dict[str, FurtherLabel]:
    """By name what ingestion reads for each objective but the first."""
    column_of = {name: objective.label or columns.label or "" for name, objective in objectives.items()}
    return {
        name: FurtherLabel(column=column_of[name], given=column_of.get(objective.given or ""))
        for name, objective in list(objectives.items())[1:]
    }


def specs(objectives: Mapping[str, Objective]) -> tuple[ObjectiveSpec, ...]:
    """What a model is told of them."""
    return tuple(ObjectiveSpec(name, each.given, each.weight) for name, each in objectives.items())
