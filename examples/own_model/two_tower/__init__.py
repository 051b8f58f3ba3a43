"""A ranking model of your own, for the registry. Free of Keras, so that checking a configuration stays instant."""

from dataclasses import dataclass

from dmf_keras.models import ModelConfig, register_model
from dmf_keras.models.model_config import count_problem


@dataclass(frozen=True)
class TwoTowerConfig(ModelConfig):
    """Hyper-parameters of `TwoTower`: a default for each."""

    dim: int = 32

    def problems(self) -> list[str]:
        """One sentence per wrong value."""
        return count_problem("dim", self.dim)


register_model("two_tower", TwoTowerConfig, "two_tower.model:TwoTower")
