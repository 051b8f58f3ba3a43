"""`muse`: semantic-aware target attention, and similarity histograms beside it."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import HistogramConfig, SimilarAttentionConfig
from dmf_keras.models.registry import register_model
from dmf_keras.models.target_attention import TargetAttentionConfig


@dataclass(frozen=True)
class MUSEConfig(TargetAttentionConfig, SimilarAttentionConfig, HistogramConfig):
    """Hyper-parameters of `dmf_keras.models.MUSE`: those of target attention and of the histogram."""


register_model("muse", MUSEConfig, "dmf_keras.models.muse.model:MUSE")
