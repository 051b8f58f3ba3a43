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
from serving.formula import Formula, FormulaError
from tfx_pipeline.config.metrics import of_objective
from tfx_pipeline.config.tables import InteractionColumns
from tfx_pipeline.config.values import Number, Section

# Also the names of a formula, which is why Python's own words are none.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ROUNDING = 1e-6


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


def check_formula(objectives: Mapping[str, Objective], score: str | None, *, probable: bool = False) -> None:
    """Refuses a `serving.score` that is no formula of the objectives.

    Args:
        objectives: by name.
        score: the formula; None: there is none.
        probable: whether its values must lie in [0, 1], as a page's order takes their logit.

    Raises:
        ValueError: with the place of the fault.
    """
    if score is None:
        return
    if not objectives:
        raise ValueError("serving.score: a formula of objectives, and there are none; name them in `objectives`")
    try:
        low, high = Formula(score, list(objectives)).bounds
    except FormulaError as error:
        raise ValueError(f"serving.score: {error} (given: {score!r})") from None
    # Bounds are rounded: those of a weighted mean may be a little beyond.
    if probable and not -_ROUNDING <= low <= high <= 1 + _ROUNDING:
        raise ValueError(
            f"stages.ranking.retrieval_weight: orders pages by the logit of serving.score, and {score!r} lies in "
            f"[{low:.7g}, {high:.7g}]; expected a formula within [0, 1], such as a product or a weighted mean, or a "
            "weight of 0"
        )


def check_kept_negatives(objectives: Mapping[str, Objective], share: float) -> None:
    """Refuses to leave negatives out where an objective could not be corrected for it.

    Raises:
        ValueError: an objective is not conditional on the main one, directly or through others.
    """
    main = next(iter(objectives), None)
    for name in objectives if share < 1 else ():
        above: str | None = name
        while above is not None and above != main:
            above = objectives[above].given
        if above is None:
            raise ValueError(
                f"training.keep_negatives: negatives are those of '{main}', and '{name}' may happen without it: its "
                f"probabilities could not be corrected; keep all, or give '{name}' a condition"
            )


def check_metrics(objectives: Mapping[str, Objective], named: Mapping[str, str]) -> None:
    """Refuses metrics of objectives that there are not.

    Args:
        objectives: the section.
        named: metrics by the key that names them.

    Raises:
        ValueError: with those that there are.
    """
    main, *further = objectives or [""]
    for key, name in named.items():
        objective, of = of_objective(name)
        if objective and objective not in further:
            there = ", ".join(f"{each}/{of}" for each in further) or "no other, as there are no `objectives`"
            hint = f"; that of the first objective, '{main}', is {of}" if objective == main else ""
            raise ValueError(f"{key}: there is no metric '{name}'{hint}; beside {of} there is {there}")


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
