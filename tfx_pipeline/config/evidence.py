"""The sections about experiments: what `dmf compare` trains and what `dmf tune` tries.

No step of the pipeline reads them, but the Tuner when `tuning.run_in_pipeline` adds it.

A model is named by a label: its name in the registry and, after `@`, the modalities it is given when not all:
`dmf`, `dmf@text`, `dmf@text+image`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from dmf_keras.models.registry import model_config, model_names
from tfx_pipeline.config.metrics import METRICS, ComparedMetric
from tfx_pipeline.config.values import Integer, Number, Section


class Label(NamedTuple):
    """A model and the modalities it is given; none named: all of them."""

    model: str
    modalities: tuple[str, ...]

    def __str__(self) -> str:
        """As a configuration writes it."""
        return f"{self.model}@{'+'.join(self.modalities)}" if self.modalities else self.model

    @classmethod
    def parse(cls, text: str, modalities: Sequence[str]) -> Label:
        """Reads a label.

        Args:
            text: such as `dmf` or `dmf@text+image`.
            modalities: those of the configuration; the label keeps their order, and all of them are none named.

        Raises:
            ValueError: no such model or modality, with those that exist.
        """
        model, at, given = text.partition("@")
        model_config(model, {})
        names = given.split("+") if at else []
        for name in names:
            if name not in modalities:
                close = difflib.get_close_matches(name, modalities, n=1)
                meant = f" (did you mean {close[0]!r}?)" if close else ""
                raise ValueError(f"'{text}': no modality {name!r}{meant}; modalities: {', '.join(modalities)}")
        chosen = tuple(name for name in modalities if name in names)
        return cls(model, () if len(chosen) == len(modalities) else chosen)


class OwnTraining(Section):
    """What a model of a comparison may have otherwise than the section `training`: not its budget, which all share."""

    learning_rate: Number | None = Field(None, gt=0)
    batch_size: Integer | None = Field(None, ge=1)


_Training = TypeVar("_Training", bound=BaseModel)


class Comparison(Section):
    """Which models `dmf compare` trains, and with what. A run of the pipeline does not look at it."""

    models: dict[str, dict[str, Any]] = Field(
        {},
        description="label (`dmf`, or `dmf@text` for that modality alone) to the hyper-parameters that differ from "
        "`model.params`; empty: every registered model",
    )
    training: dict[str, OwnTraining] = Field(
        {},
        description="label to the `learning_rate` and `batch_size` that differ from `training`; epochs and patience "
        "are the budget and the same for all",
    )
    seeds: Integer = Field(3, ge=1, description="trainings per model; seeds count from `training.seed`")
    reference: str = Field("dmf", description="label of the model that the others are compared with")

    def labels(self) -> list[str]:
        """What is compared, as written; every registered model when nothing is."""
        return list(self.models) or model_names()

    def params(self, label: Label, shared: Mapping[str, Any]) -> dict[str, Any]:
        """Hyper-parameters of a model.

        Those of `shared` that the model has, then those given for the model, then those given for the label.

        Args:
            label: model and modalities; need not be among `models`.
            shared: `model.params` of the configuration.

        Raises:
            ValueError: the model has no parameter of a name given for it, or refuses a value.
        """
        known = model_config(label.model, {}).to_dict()
        own = {**self.models.get(label.model, {}), **self.models.get(str(label), {})}
        params = {name: value for name, value in shared.items() if name in known} | own
        model_config(label.model, params)
        return params

    def training_of(self, label: Label, shared: _Training) -> _Training:
        """How a model is trained: as `shared`, but for what is given for the model, then for the label.

        Args:
            label: model and modalities.
            shared: section `training` of the configuration.
        """
        own = {}
        for name in (label.model, str(label)):
            if name in self.training:
                own |= self.training[name].model_dump(exclude_none=True)
        return shared.model_copy(update=own)

    def check(self, shared: Mapping[str, Any], modalities: Sequence[str]) -> None:
        """Refuses labels and hyper-parameters that do not exist.

        Args:
            shared: `model.params` of the configuration.
            modalities: names of the configuration's modalities.

        Raises:
            ValueError: with the key, what was given and what exists.
        """
        for section, labels in (("models", self.models), ("training", self.training)):
            for text in labels:
                try:
                    label = Label.parse(text, modalities)
                    if str(label) != text:
                        raise ValueError(f"'{text}' is '{label}': write it so")
                    self.params(label, shared)
                # The class of a user's hyper-parameters may raise anything.
                except Exception as error:
                    raise ValueError(f"comparison.{section}: {error}") from None
        try:
            reference = str(Label.parse(self.reference, modalities))
        except ValueError as error:
            raise ValueError(f"comparison.reference: {error}") from None
        if self.models and reference not in self.models:
            raise ValueError(
                f"comparison.reference: '{reference}' is not among comparison.models: {', '.join(self.models)}"
            )


# Prefixes of the keys of a search space: what they name is a key of that section of the configuration.
PARAMS = "params."
TRAINING = "training."
TUNABLE_TRAINING = ("batch_size", "epochs", "patience", "learning_rate")

_Bounds = Annotated[list[Number], Field(min_length=2, max_length=2)]
_IntegerBounds = Annotated[list[Integer], Field(min_length=2, max_length=2)]


class Range(Section):
    """Values that a search may try; exactly one of the four."""

    choice: list[Any] | None = Field(None, min_length=1, description="one of these")
    uniform: _Bounds | None = Field(None, description="a number from the first to the second")
    log: _Bounds | None = Field(
        None, description="as `uniform`, of its logarithm: 0.001 to 0.01 is as likely as 0.01 to 0.1"
    )
    int: _IntegerBounds | None = Field(None, description="an integer from the first to the second")

    @model_validator(mode="after")
    def _one_kind_in_order(self) -> Range:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}, got {len(given)}")
        bounds = self.uniform or self.log or self.int
        if bounds and bounds[0] >= bounds[1]:
            raise ValueError(f"{given[0]} wants the lower bound first, got {bounds}")
        if self.log and self.log[0] <= 0:
            raise ValueError(f"log wants bounds above 0, got {self.log}; for 0 to {self.log[1]:g} take uniform")
        return self

    def examples(self) -> list[Any]:
        """Values to check a model with: every choice, or the bounds and, of numbers, one between them."""
        if self.choice is not None:
            return self.choice
        if self.int is not None:
            return self.int
        low, high = self.uniform or self.log
        return [low, high, low + (high - low) / math.e]


class Tuning(Section):
    """What `dmf tune` tries, on the eval split alone."""

    algorithm: Literal["random", "bayesian"] = Field(
        "random", description="`bayesian`: after some random trials, a Gaussian process says what to try next"
    )
    trials: Integer = Field(20, ge=1, description="per model, beside the configuration as it is")
    seed: Integer = Field(0, ge=0, description="of the search; every trial trains with `training.seed`")
    objective: ComparedMetric = Field("gauc", description="of the eval split's candidates")
    space: dict[str, Range] = Field(
        {},
        description="key (`params.NAME` of `model.params`, or `training.batch_size`, `.epochs`, `.patience`, "
        "`.learning_rate`) to what to try; a key that a model lacks is left out for it",
    )
    run_in_pipeline: bool = Field(
        False, description="`dmf run` searches before it trains, and trains with the best values"
    )

    @field_validator("space")
    @classmethod
    def _keys_exist(cls, space: dict[str, Range]) -> dict[str, Range]:
        for key in space:
            if not key.startswith(PARAMS) and key not in {TRAINING + name for name in TUNABLE_TRAINING}:
                known = ", ".join(TRAINING + name for name in TUNABLE_TRAINING)
                raise ValueError(f"'{key}' cannot be tuned; keys are {PARAMS}NAME of a model's parameter, {known}")
        return space

    @model_validator(mode="after")
    def _space_for_the_pipeline(self) -> Tuning:
        if self.run_in_pipeline and not self.space:
            raise ValueError("run_in_pipeline is true, but `space` is empty: nothing could be tried")
        return self

    @property
    def direction(self) -> Literal["min", "max"]:
        """Whether a smaller or a larger objective is better."""
        return "min" if METRICS[self.objective].lower_is_better else "max"

    def space_of(self, model: str) -> dict[str, Range]:
        """The part of the space that a model has: without the parameters that it lacks."""
        params = {PARAMS + name for name in model_config(model, {}).to_dict()}
        return {key: values for key, values in self.space.items() if not key.startswith(PARAMS) or key in params}

    def check(self, model: str, params: Mapping[str, Any], training: BaseModel) -> None:
        """Refuses hyper-parameters that no model has, values that it refuses, and a search of nothing.

        Args:
            model: name of the configuration's model.
            params: its hyper-parameters.
            training: section `training`.

        Raises:
            ValueError: with the key, what was given and what exists.
        """
        for key, values in self.space.items():
            for value in values.examples():
                try:
                    if key.startswith(PARAMS):
                        _check_param(model, params, key.removeprefix(PARAMS), value)
                    else:
                        fields = training.model_dump() | {key.removeprefix(TRAINING): value}
                        type(training).model_validate(fields)
                except ValidationError as error:
                    problem = error.errors()[0]["msg"].removeprefix("Input ")
                    raise ValueError(f"tuning.space.{key}: {problem} (given: {value!r})") from None
                except (TypeError, ValueError) as error:
                    raise ValueError(f"tuning.space.{key}: {error}") from None
        if self.run_in_pipeline and not self.space_of(model):
            raise ValueError(
                f"tuning.run_in_pipeline: the model '{model}' has none of the keys of tuning.space: "
                f"{', '.join(self.space)}; nothing could be tried"
            )


def _check_param(model: str, params: Mapping[str, Any], name: str, value: Any) -> None:
    """Asks the configuration's model or, where it lacks the parameter, the first registered one that has it."""
    having = [other for other in model_names() if name in model_config(other, {}).to_dict()]
    if model in having or not having:
        model_config(model, {**params, name: value})
    else:
        model_config(having[0], {name: value})
