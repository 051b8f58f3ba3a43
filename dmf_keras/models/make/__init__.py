"""`make`: DIN over IDs and content side by side, and similarity histograms beside it."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import HistogramConfig, JoinedConfig
from dmf_keras.models.din import DINConfig
from dmf_keras.models.registry import register_model


@dataclass(frozen=True)
class MAKEConfig(DINConfig, HistogramConfig, JoinedConfig):
    """Hyper-parameters of `dmf_keras.models.MAKE`: those of DIN, of the histogram and of joined items."""


register_model("make", MAKEConfig, "dmf_keras.models.make.model:MAKE")
