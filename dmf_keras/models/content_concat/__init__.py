"""`content_concat`: target attention over IDs and content side by side."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import JoinedConfig
from dmf_keras.models.model_config import choice_problem
from dmf_keras.models.registry import register_model
from dmf_keras.models.target_attention import TargetAttentionConfig


@dataclass(frozen=True)
class ContentConcatConfig(TargetAttentionConfig, JoinedConfig):
    """Hyper-parameters of `dmf_keras.models.ContentConcat`.

    Args:
        pooling: of the history's joined vectors: target "attention", or their "mean", the same for all candidates.
    """

    pooling: str = "attention"

    def problems(self) -> list[str]:
        """See the base class."""
        return [*super().problems(), *choice_problem("pooling", self.pooling, ("attention", "mean"))]


register_model("content_concat", ContentConcatConfig, "dmf_keras.models.content_concat.model:ContentConcat")
