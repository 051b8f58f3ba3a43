"""`mean_pooling`: the mean of the history."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import InterestConfig
from dmf_keras.models.registry import register_model


@dataclass(frozen=True)
class MeanPoolingConfig(InterestConfig):
    """Hyper-parameters of `dmf_keras.models.MeanPooling`: those that every model has."""


register_model("mean_pooling", MeanPoolingConfig, "dmf_keras.models.mean_pooling.model:MeanPooling")
