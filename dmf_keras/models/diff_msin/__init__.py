"""`diff_msin`: experts of each modality and of all, their synergy by diffusion-like steps, gates, a cross network."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import InterestConfig, JoinedConfig
from dmf_keras.models.model_config import count_problem, counts_problem, number_problem
from dmf_keras.models.registry import register_model


@dataclass(frozen=True)
class DiffMSINConfig(InterestConfig, JoinedConfig):
    """Hyper-parameters of `dmf_keras.models.DiffMSIN`. `content_dim` is the width of every stream, IDs included.

    Args:
        heads: of all attentions; divides `content_dim`.
        expert_units: hidden widths of the experts.
        synergy_steps: steps T of the synergy.
        cross_layers: layers of the cross network.
        decoupling_weight: of the loss that sets the specific experts apart and brings the shared ones together.
        synergy_weight: of the loss that brings the synergies of candidate and history together where the label is 1.
    """

    heads: int = 4
    expert_units: tuple[int, ...] = (64,)
    synergy_steps: int = 5
    cross_layers: int = 3
    decoupling_weight: float = 0.01
    synergy_weight: float = 0.01

    def problems(self) -> list[str]:
        """See the base class."""
        widths = [*count_problem("content_dim", self.content_dim), *count_problem("heads", self.heads)]
        found = [*super().problems(), *count_problem("heads", self.heads)]
        if not widths and self.content_dim % self.heads:
            found.append(f"content_dim must be a multiple of heads ({self.heads}), got {self.content_dim}")
        found += counts_problem("expert_units", self.expert_units, least_length=1)
        found += count_problem("synergy_steps", self.synergy_steps) + count_problem("cross_layers", self.cross_layers)
        found += number_problem("decoupling_weight", self.decoupling_weight, 0, float("inf"))
        return found + number_problem("synergy_weight", self.synergy_weight, 0, float("inf"))


register_model("diff_msin", DiffMSINConfig, "dmf_keras.models.diff_msin.model:DiffMSIN")
