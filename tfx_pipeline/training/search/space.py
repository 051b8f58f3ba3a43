"""The search space of the configuration as KerasTuner's, and what a search gives back as values of the configuration.

A value is named by its place in the configuration, without `model.`: `params.id_dim`, `training.learning_rate`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import keras_tuner

from tfx_pipeline.config.tuning import Range, SearchValues

# Enough to tell two trials apart, and short enough to be read and pasted.
_DIGITS = 4


def search_space(space: Mapping[str, Range]) -> keras_tuner.HyperParameters:
    """The space in KerasTuner's terms."""
    hyperparameters = keras_tuner.HyperParameters()
    for key, values in space.items():
        if values.choice is not None:
            hyperparameters.Choice(key, _choices(values.choice))
        elif values.int is not None:
            hyperparameters.Int(key, *values.int)
        elif values.log is not None:
            hyperparameters.Float(key, *values.log, sampling="log")
        else:
            hyperparameters.Float(key, *values.bounds)
    return hyperparameters


def config_values(space: Mapping[str, Range], suggested: Mapping[str, Any]) -> SearchValues:
    """What KerasTuner suggests as values of the configuration: plain Python, numbers rounded to 4 digits."""
    return {key: _config_value(values, suggested[key]) for key, values in space.items()}


def _config_value(values: Range, suggested: Any) -> Any:
    if values.choice is not None:
        return values.choice[_choices(values.choice).index(suggested)]
    if values.int is not None:
        return int(suggested)
    low, high = values.bounds
    return min(max(float(f"{suggested:.{_DIGITS}g}"), low), high)


def _choices(values: list[Any]) -> list[Any]:
    """KerasTuner wants choices of one scalar type: numbers keep their order, all else becomes text."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values]
    return [json.dumps(value) for value in values]
