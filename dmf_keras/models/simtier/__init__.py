"""`simtier`: target attention over IDs, and similarity histograms beside it."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import HistogramConfig, SimilarAttentionConfig
from dmf_keras.models.registry import register_model
from dmf_keras.models.target_attention import TargetAttentionConfig


@dataclass(frozen=True)
class SimTierConfig(TargetAttentionConfig, SimilarAttentionConfig, HistogramConfig):
    """Hyper-parameters of `dmf_keras.models.SimTier`: those of target attention and of the histogram."""


register_model(
    "simtier",
    SimTierConfig,
    "dmf_keras.models.simtier.model:SimTier",
    parts={"attention": "attention over IDs", "histogram": "similarity histograms"},
)
