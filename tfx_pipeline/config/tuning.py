"""The section about searches: what `dmf tune` tries.

No step of the pipeline reads it, but the Tuner when `tuning.run_in_pipeline` adds it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from dmf_keras.models.registry import model_config, model_names, parameters
from tfx_pipeline.config.metrics import ComparedMetric, metric
from tfx_pipeline.config.values import Integer, Number, Section

# Prefixes of the keys of a search space: what they name is a key of that section of the configuration.
PARAMS = "params."
TRAINING = "training."
TUNABLE_TRAINING = ("batch_size", "epochs", "patience", "learning_rate")

_Bounds = Annotated[list[Number], Field(min_length=2, max_length=2)]
_IntegerBounds = Annotated[list[Integer], Field(min_length=2, max_length=2)]


# What a trial of a search tries: plain values by their place in the configuration, without `model.`.
SearchValues = dict[str, Any]


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

    @property
    def bounds(self) -> tuple[float, float]:
        """Those of `uniform` or `log`, whichever is given.

        Raises:
            ValueError: neither is.
        """
        found = self.uniform or self.log
        if found is None:
            raise ValueError("a choice or whole numbers have no bounds of this kind")
        low, high = found
        return low, high

    def examples(self) -> list[Any]:
        """Values to check a model with: every choice, or the bounds and, of numbers, one between them."""
        if self.choice is not None:
            return self.choice
        if self.int is not None:
            return self.int
        low, high = self.bounds
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
        return "min" if metric(self.objective).lower_is_better else "max"

    def space_of(self, model: str) -> dict[str, Range]:
        """The part of the space that a model has: without the parameters that it lacks."""
        params = {PARAMS + name for name in parameters(model)}
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
    having = [other for other in model_names() if name in parameters(other)]
    if model in having or not having:
        model_config(model, {**params, name: value})
    else:
        model_config(having[0], {name: value})
