"""`mim`: target attention over content beside target attention over IDs, and similarity features."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import HistogramConfig, JoinedConfig, SimilarAttentionConfig
from dmf_keras.models.model_config import count_problem
from dmf_keras.models.registry import register_model
from dmf_keras.models.target_attention import TargetAttentionConfig


@dataclass(frozen=True)
class MIMConfig(TargetAttentionConfig, SimilarAttentionConfig, HistogramConfig, JoinedConfig):
    """Hyper-parameters of `dmf_keras.models.MIM`; both attentions have the width, heads and dropout given here.

    Args:
        recent: the most recent items of the history whose cosines the head gets one by one.
    """

    recent: int = 10

    def problems(self) -> list[str]:
        """See the base class."""
        return [*super().problems(), *count_problem("recent", self.recent)]


register_model(
    "mim",
    MIMConfig,
    "dmf_keras.models.mim.model:MIM",
    parts={"content": "attention over content", "similarity": "similarity histograms and recent cosines"},
)
