"""What a model is told of the data, and names, dtypes and shapes of its inputs. Free of Keras, for data pipelines.

Dimensions: B requests, L history items, N candidates; `None` in a shape is unknown. Index 0 and content row 0 are
padding and "no content". Besides the names here, every categorical (int [B]) and numeric (float [B]) column of the
schema is a user input under its own name, as is every column of several values (int [B, W], 0 is padding), and every
candidate column (int or float [B, N]) one of candidates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

HISTORY_INDEX = "history_index"
HISTORY_CONTENT_ROW = "history_content_row"
# Seconds between each history item's event and the request, NaN where not known and on padding.
HISTORY_AGE = "history_age"
USER_INDEX = "user_index"
CANDIDATE_INDEX = "candidate_index"
CANDIDATE_CONTENT_ROW = "candidate_content_row"
RESERVED = (HISTORY_INDEX, HISTORY_CONTENT_ROW, USER_INDEX, CANDIDATE_INDEX, CANDIDATE_CONTENT_ROW)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_STORAGE_DTYPES = ("int8", "float16", "float32")
# Fields that schemas did not always have: one that does not use them is written as before.
_LATER = (
    "categorical_lists",
    "item_columns",
    "candidate_categorical",
    "candidate_numeric",
    "candidate_bias",
    "objectives",
    "history_age_buckets",
    "histories",
    "item_codes",
    "item_statistics",
)
# Counts of an item in the train split: how often it was shown, and with a positive main label.
IMPRESSIONS, POSITIVES = "impressions", "positives"
ITEM_STATISTICS = (IMPRESSIONS, POSITIVES)


@dataclass(frozen=True)
class ModalitySpec:
    """One table of content vectors: their width and how they are stored ("int8", "float16" or "float32")."""

    width: int
    dtype: str = "float16"


@dataclass(frozen=True)
class ItemColumnSpec:
    """One column of items: the rows of its embedding and how many names an item may have; rows None: a number."""

    rows: int | None = None
    width: int = 1


@dataclass(frozen=True)
class ObjectiveSpec:
    """One thing that a model predicts of a candidate.

    Args:
        name: letters, digits and underscores.
        given: name of an objective before it, without which it cannot happen; None: of no other.
        weight: of its loss in the sum.
    """

    name: str
    given: str | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class RankingSchema:
    """Sizes and names that come from the data, as opposed to hyper-parameters.

    Args:
        item_rows: rows of the item embedding: padding (row 0), known ids and out-of-vocabulary rows.
        content_rows: rows of every content table, row 0 ("no content") included.
        modalities: name to width and storage of its content table; none where items have no content.
        user_rows: rows of the user embedding, row 0 ("no user") included; None: users have no embedding.
        categorical: name to rows of its embedding, row 0 ("missing") included.
        numeric: names of scaled numbers.
        categorical_lists: as `categorical`, of columns that may have several values.
        item_columns: columns of the catalogue, which the model looks up by content row.
        candidate_categorical, candidate_numeric: as `categorical` and `numeric`, with a value for each candidate.
        candidate_bias: of these columns, those that say how a candidate was shown: name to the index or number that
            stands for the column everywhere but in training, where alone it is an input.
        objectives: what is predicted, the main objective first; none: one thing that needs no name.
        history_age_buckets: K, into how many buckets the ages of history items are cut; None: they have no ages.
        histories: names of further histories beside the main one, such as of purchases alone; see `of_history`.
        item_codes: of each level of the items' semantic ids how many codes there are; none: items have no such ids.
        item_statistics: of `ITEM_STATISTICS`, the counts of items that the model looks up by content row.

    Raises:
        ValueError: all problems at once, each with what was received.
    """

    item_rows: int
    content_rows: int
    modalities: dict[str, ModalitySpec] = field(default_factory=dict)
    user_rows: int | None = None
    categorical: dict[str, int] = field(default_factory=dict)
    numeric: tuple[str, ...] = ()
    item_columns: dict[str, ItemColumnSpec] = field(default_factory=dict)
    candidate_categorical: dict[str, int] = field(default_factory=dict)
    candidate_numeric: tuple[str, ...] = ()
    candidate_bias: dict[str, float] = field(default_factory=dict)
    objectives: tuple[ObjectiveSpec, ...] = ()
    categorical_lists: dict[str, int] = field(default_factory=dict)
    history_age_buckets: int | None = None
    histories: tuple[str, ...] = ()
    item_codes: tuple[int, ...] = ()
    item_statistics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "numeric", tuple(self.numeric))
        object.__setattr__(self, "candidate_numeric", tuple(self.candidate_numeric))
        object.__setattr__(self, "objectives", tuple(self.objectives))
        object.__setattr__(self, "histories", tuple(self.histories))
        object.__setattr__(self, "item_codes", tuple(self.item_codes))
        object.__setattr__(self, "item_statistics", tuple(self.item_statistics))
        counts: dict[str, Any] = {"item_rows": self.item_rows, "content_rows": self.content_rows}
        if self.user_rows is not None:
            counts["user_rows"] = self.user_rows
        counts |= {f"categorical.{name}": rows for name, rows in self.categorical.items()}
        counts |= {f"categorical_lists.{name}": rows for name, rows in self.categorical_lists.items()}
        counts |= {f"candidate_categorical.{name}": rows for name, rows in self.candidate_categorical.items()}
        counts |= {f"modalities.{name}.width": spec.width for name, spec in self.modalities.items()}
        counts |= {f"item_columns.{name}.width": spec.width for name, spec in self.item_columns.items()}
        counts |= {
            f"item_columns.{name}.rows": spec.rows for name, spec in self.item_columns.items() if spec.rows is not None
        }
        counts |= {f"item_codes[{level}]": size for level, size in enumerate(self.item_codes)}
        problems = [
            f"{name} must be an integer of at least 1, got {count!r}"
            for name, count in counts.items()
            if isinstance(count, bool) or not isinstance(count, int) or count < 1
        ]
        ages = self.history_age_buckets
        if ages is not None and (isinstance(ages, bool) or not isinstance(ages, int) or ages < 3):
            problems.append(f"history_age_buckets must be an integer of at least 3, got {ages!r}")
        problems += [
            f"modalities.{name}.dtype must be one of {', '.join(_STORAGE_DTYPES)}, got {spec.dtype!r}"
            for name, spec in self.modalities.items()
            if spec.dtype not in _STORAGE_DTYPES
        ]
        problems += statistics_problem("item_statistics", self.item_statistics)
        of_candidates = [*self.candidate_categorical, *self.candidate_numeric]
        columns = [*self.categorical, *self.categorical_lists, *self.numeric, *of_candidates]
        problems += [
            f"candidate_bias.{name}: there is no candidate column of that name"
            for name in self.candidate_bias
            if name not in of_candidates
        ]
        problems += [
            f"candidate_bias.{name} must be an index below {rows}, got {self.candidate_bias[name]!r}"
            for name, rows in self.candidate_categorical.items()
            if name in self.candidate_bias and self.candidate_bias[name] not in range(rows)
        ]
        for name in [*columns, *self.modalities, *self.item_columns, *self.histories]:
            if not _NAME.fullmatch(name):
                problems.append(f"names are letters, digits and underscores and begin with a letter, got {name!r}")
        reserved = (*RESERVED, *([] if self.history_age_buckets is None else [HISTORY_AGE]))
        problems += [f"column name {name!r} is taken by the model's own input" for name in columns if name in reserved]
        twice = sorted({name for name in columns if columns.count(name) > 1})
        problems += [f"column {name!r} is named more than once" for name in twice]
        if len(set(self.histories)) < len(self.histories):
            problems.append(f"histories must have different names, got {', '.join(self.histories)}")
        problems += self._objective_problems()
        if problems:
            raise ValueError("; ".join(problems))

    def _objective_problems(self) -> list[str]:
        names = [objective.name for objective in self.objectives]
        problems = [f"objectives must be at least two, got {names[0]!r} alone"] if len(names) == 1 else []
        for place, (name, given, weight) in enumerate((o.name, o.given, o.weight) for o in self.objectives):
            if not _NAME.fullmatch(name) or name in names[:place]:
                problems.append(f"names of objectives are words that begin with a letter, each once, got {name!r}")
            if given is not None and given not in names[:place]:
                problems.append(f"objective {name!r} must be given one before it, got {given!r}")
            if not weight > 0:
                problems.append(f"objective {name!r} must have a weight above 0, got {weight!r}")
        return problems

    @property
    def parents(self) -> tuple[int | None, ...]:
        """Of each objective the place of the one that it is given; empty where there is one objective."""
        place = {objective.name: index for index, objective in enumerate(self.objectives)}
        return tuple(None if each.given is None else place[each.given] for each in self.objectives)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them."""
        values = asdict(self)
        values |= {name: list(values[name]) for name in ("numeric", "candidate_numeric", "objectives", "histories")}
        lists = ("numeric", "candidate_numeric", "objectives", "item_codes", "item_statistics")
        values |= {name: list(values[name]) for name in lists}
        for name in _LATER:
            if not values[name]:
                del values[name]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RankingSchema:
        """The schema of `to_dict`'s values."""
        modalities = {name: ModalitySpec(**spec) for name, spec in values["modalities"].items()}
        columns = {name: ItemColumnSpec(**spec) for name, spec in values.get("item_columns", {}).items()}
        objectives = tuple(ObjectiveSpec(**spec) for spec in values.get("objectives", ()))
        return cls(**{**values, "modalities": modalities, "item_columns": columns, "objectives": objectives})


def statistics_problem(name: str, values: tuple[str, ...]) -> list[str]:
    """A problem unless `values` are of `ITEM_STATISTICS`, each once."""
    if len(set(values)) == len(values) and set(values) <= set(ITEM_STATISTICS):
        return []
    return [f"{name} must be of {', '.join(ITEM_STATISTICS)}, each once, got {list(values)!r}"]


class InputSpec(NamedTuple):
    """Dtype and shape of one input."""

    dtype: str
    shape: tuple[int | None, ...]


def of_history(name: str, history: str) -> str:
    """Name of `HISTORY_INDEX`, `HISTORY_CONTENT_ROW` or `HISTORY_AGE` of a further history; also of a state tensor."""
    return f"{name}/{history}"


def is_of_history(name: str) -> bool:
    """Whether an input is [B, L] of a history, of the main one or a further one."""
    return name.partition("/")[0] in (HISTORY_INDEX, HISTORY_CONTENT_ROW, HISTORY_AGE)


def is_age(name: str) -> bool:
    """Whether an input has the ages of a history's items, of the main one or a further one."""
    return name.partition("/")[0] == HISTORY_AGE


def seen_by(inputs: Mapping[str, Any], history: str) -> dict[str, Any]:
    """The inputs with a further history in the place of the main one."""
    names = (HISTORY_INDEX, HISTORY_CONTENT_ROW, HISTORY_AGE)
    found = {name: inputs[of_history(name, history)] for name in names if of_history(name, history) in inputs}
    return {**inputs, **found}


def state_of(state: Mapping[str, Any], history: str) -> dict[str, Any]:
    """The state of a further history, by the names that a model without others has."""
    end = of_history("", history)
    return {name.removesuffix(end): value for name, value in state.items() if name.endswith(end)}


def candidate_content(modality: str) -> str:
    """Name of the optional content vectors that a request carries for its candidates, float [B, N, width].

    A vector that is not all zeros replaces the table's row of that candidate.
    """
    return f"candidate_content/{modality}"


def as_shown(name: str) -> str:
    """Name of the optional input by which a column of `candidate_bias` is told outside of training, [B, N].

    For the validation of `fit`: which epoch explains clicks best cannot be said by scores of another position than the
    one that they were made at. Whoever ranks does not give it, and the constant of the schema holds.
    """
    return f"as_shown/{name}"


def user_inputs(schema: RankingSchema) -> dict[str, InputSpec]:
    """What `encode_user` needs; ages only in models that read them."""
    specs = {HISTORY_INDEX: InputSpec("int32", (None, None)), HISTORY_CONTENT_ROW: InputSpec("int32", (None, None))}
    if schema.history_age_buckets is not None:
        specs[HISTORY_AGE] = InputSpec("float32", (None, None))
    specs |= {of_history(name, history): spec for history in schema.histories for name, spec in specs.items()}
    if schema.user_rows is not None:
        specs[USER_INDEX] = InputSpec("int32", (None,))
    specs |= {name: InputSpec("int32", (None,)) for name in schema.categorical}
    specs |= {name: InputSpec("int32", (None, None)) for name in schema.categorical_lists}
    return specs | {name: InputSpec("float32", (None,)) for name in schema.numeric}


def candidate_inputs(schema: RankingSchema, training: bool = False) -> dict[str, InputSpec]:
    """What `score` needs besides the state; `candidate_content` may be added.

    Columns of `candidate_bias` are inputs in training alone.
    """
    spec = InputSpec("int32", (None, None))
    specs = {CANDIDATE_INDEX: spec, CANDIDATE_CONTENT_ROW: spec}
    specs |= dict.fromkeys(schema.candidate_categorical, spec)
    specs |= dict.fromkeys(schema.candidate_numeric, InputSpec("float32", (None, None)))
    return {name: spec for name, spec in specs.items() if training or name not in schema.candidate_bias}
