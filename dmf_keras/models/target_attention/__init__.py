"""`target_attention`: target attention over IDs alone."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import InterestConfig
from dmf_keras.models.model_config import count_problem, number_problem
from dmf_keras.models.registry import register_model


@dataclass(frozen=True)
class TargetAttentionConfig(InterestConfig):
    """Hyper-parameters of `dmf_keras.models.IDTargetAttention`.

    Args:
        attention_dim: width a of query, key and value, all heads together.
        heads: attention heads; divides `attention_dim`.
        attention_dropout: of the attention weights, from 0 to 0.95.
    """

    attention_dim: int = 64
    heads: int = 1
    attention_dropout: float = 0.0

    def problems(self) -> list[str]:
        """See the base class."""
        counts = [*count_problem("attention_dim", self.attention_dim), *count_problem("heads", self.heads)]
        if not counts and self.attention_dim % self.heads:
            counts = [f"attention_dim must be a multiple of heads ({self.heads}), got {self.attention_dim}"]
        return [*super().problems(), *counts, *number_problem("attention_dropout", self.attention_dropout, 0, 0.95)]


register_model("target_attention", TargetAttentionConfig, "dmf_keras.models.target_attention.model:IDTargetAttention")
