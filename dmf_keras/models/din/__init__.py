"""`din`: Deep Interest Network."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import InterestConfig
from dmf_keras.models.model_config import choice_problem, counts_problem
from dmf_keras.models.registry import register_model


@dataclass(frozen=True)
class DINConfig(InterestConfig):
    """Hyper-parameters of `dmf_keras.models.DIN`; the activation unit's are the paper's.

    Args:
        activation_units: hidden widths of the local activation unit.
        activation: of the local activation unit: "dice", or a Keras activation by name.
    """

    activation_units: tuple[int, ...] = (80, 40)
    activation: str = "dice"

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems(), *counts_problem("activation_units", self.activation_units, least_length=1)]
        return found + choice_problem("activation", self.activation, ("dice", "relu", "sigmoid", "tanh", "silu"))


register_model("din", DINConfig, "dmf_keras.models.din.model:DIN")
