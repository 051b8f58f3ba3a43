"""`qin`: sparse target attention over IDs and content side by side, and a head of quadratic layers."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import JoinedConfig
from dmf_keras.models.model_config import count_problem
from dmf_keras.models.registry import register_model


@dataclass(frozen=True)
class QINConfig(JoinedConfig):
    """Hyper-parameters of `dmf_keras.models.QIN`; the head has no hidden widths to choose.

    Args:
        attention_dim: width of query and key; twice the width of an item in the authors' code.
        quadratic_layers: of the head; 4 in the authors' code.
    """

    attention_dim: int = 64
    quadratic_layers: int = 4

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems(), *count_problem("attention_dim", self.attention_dim)]
        return found + count_problem("quadratic_layers", self.quadratic_layers)


register_model("qin", QINConfig, "dmf_keras.models.qin.model:QIN")
