"""`early_fusion`: DMF with similarity fused before the projections."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.dmf import DMFPaperConfig
from dmf_keras.models.model_config import count_problem
from dmf_keras.models.registry import register_model


@dataclass(frozen=True)
class EarlyFusionConfig(DMFPaperConfig):
    """Hyper-parameters of `dmf_keras.models.EarlyFusion`: DMF's, and the width of what is fused.

    Args:
        similarity_dim: width of the embedding of a similarity bucket; at `attention_dim` it can say what DMF's can.
    """

    similarity_dim: int = 64

    def problems(self) -> list[str]:
        """See the base class."""
        return [*super().problems(), *count_problem("similarity_dim", self.similarity_dim)]


register_model("early_fusion", EarlyFusionConfig, "dmf_keras.models.early_fusion.model:EarlyFusion")
