"""Base of the hyper-parameters of a model: frozen, checked at once, free of Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class ModelConfig:
    """Subclasses are frozen dataclasses with a default for every field, and list what is wrong in `problems`.

    `later` has the fields that hyper-parameters did not always have: at their default they are not written. `before`
    has those whose default would make another model of one saved without them, each with the value that keeps it.
    `needs_content` is true of models that cannot do without content, `needs_codes` of those that read semantic ids.
    """

    later: ClassVar[frozenset[str]] = frozenset()
    before: ClassVar[Mapping[str, Any]] = {}
    needs_content: ClassVar[bool] = False
    needs_codes: ClassVar[bool] = False

    @classmethod
    def of_saved(cls, values: Mapping[str, Any]) -> Self:
        """The hyper-parameters of a saved model, of whatever version, from its `to_dict`."""
        return cls(**{**cls.before, **values})

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, list):  # YAML and JSON know no tuples
                object.__setattr__(self, name, tuple(value))
        if problems := self.problems():
            raise ValueError("; ".join(problems))

    def reads_statistics(self) -> tuple[str, ...]:
        """Counts of items that the model looks up, of `dmf_keras.models.inputs.ITEM_STATISTICS`; by default none."""
        return ()

    def problems(self) -> list[str]:
        """One sentence per wrong value: its name, what is allowed, what was received."""
        return []

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the constructor takes them back."""
        defaults = {field.name: field.default for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name not in self.later or value != defaults[name]
        }


def count_problem(name: str, value: Any, least: int = 1) -> list[str]:
    """A problem unless `value` is an integer of at least `least`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return []
    return [f"{name} must be an integer of at least {least}, got {value!r}"]


def counts_problem(name: str, values: Any, least_length: int = 0) -> list[str]:
    """A problem unless `values` are at least `least_length` positive integers."""
    if not isinstance(values, tuple) or len(values) < least_length:
        return [f"{name} must be a list of at least {least_length} integers, got {values!r}"]
    return [problem for value in values for problem in count_problem(f"each of {name}", value)]


def number_problem(name: str, value: Any, low: float, high: float) -> list[str]:
    """A problem unless `value` is a number in [low, high]."""
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return []
    return [f"{name} must be a number from {low:g} to {high:g}, got {value!r}"]


def choice_problem(name: str, value: Any, choices: tuple[str, ...]) -> list[str]:
    """A problem unless `value` is one of `choices`."""
    return [] if value in choices else [f"{name} must be one of {', '.join(choices)}, got {value!r}"]
