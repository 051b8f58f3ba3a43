"""Values of a search in their places in the configuration's sections `model` and `training`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx_pipeline.config.label import Label
from tfx_pipeline.config.schema import PipelineConfig, Training
from tfx_pipeline.config.tuning import PARAMS, TRAINING, SearchValues
from tfx_pipeline.config.values import Params


def params_as_they_are(config: PipelineConfig, label: Label) -> Params:
    """Hyper-parameters before a search: what `dmf run` gives its own model, and `dmf compare` any other.

    Raises:
        ValueError: the model refuses them.
    """
    if str(label) == config.model.name:
        return dict(config.model.params)
    return config.comparison.params(label, config.model.params, config.model.name)


def training_as_it_is(config: PipelineConfig, label: Label) -> Training:
    """How `dmf run` trains its own model, and `dmf compare` any other."""
    return config.training if str(label) == config.model.name else config.comparison.training_of(label, config.training)


def split_values(values: Mapping[str, Any]) -> tuple[Params, SearchValues]:
    """Values by `params.NAME` and `training.NAME` as those of `model.params` and those of `training`."""
    params = {key.removeprefix(PARAMS): value for key, value in values.items() if key.startswith(PARAMS)}
    training = {key.removeprefix(TRAINING): value for key, value in values.items() if key.startswith(TRAINING)}
    return params, training


def with_values(params: Mapping[str, Any], training: Training, values: Mapping[str, Any]) -> tuple[Params, Training]:
    """Hyper-parameters and training with the values of a search.

    Args:
        params: `model.params`.
        training: section `training`.
        values: by `params.NAME` and `training.NAME`.

    Raises:
        ValueError: training refuses a value. Those of `params` are the model's to check.
    """
    tuned_params, tuned_training = split_values(values)
    return {**params, **tuned_params}, Training.model_validate({**training.model_dump(), **tuned_training})
