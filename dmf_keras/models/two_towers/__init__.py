"""`two_towers`: a user vector, an item vector, their dot product; what retrieval is made with."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.configs import JoinedConfig
from dmf_keras.models.model_config import choice_problem, count_problem, counts_problem, number_problem
from dmf_keras.models.registry import register_model


@dataclass(frozen=True)
class TwoTowersConfig(JoinedConfig):
    """Hyper-parameters of `dmf_keras.models.TwoTowers`.

    Args:
        dim: width D of the vectors that are compared.
        hidden_units: of either tower before its vector; none: both are linear.
        pooling: of the history's items: "attention", by what and how recent they are, or their "mean".
        positions: places from the end of the history that "attention" tells apart.
        temperature: of the dot products at the start of training, at least 0.01.
        id_dropout: share of the items, of candidates and histories alike, that training shows as out of vocabulary,
            from 0 to 0.95: so content and columns learn to stand in for an ID, as they must for a new item.
    """

    needs_content = False

    dim: int = 64
    hidden_units: tuple[int, ...] = (128,)
    pooling: str = "attention"
    positions: int = 50
    temperature: float = 0.1
    id_dropout: float = 0.1

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems(), *count_problem("dim", self.dim), *count_problem("positions", self.positions)]
        found += counts_problem("hidden_units", self.hidden_units)
        found += choice_problem("pooling", self.pooling, ("attention", "mean"))
        found += number_problem("id_dropout", self.id_dropout, 0, 0.95)
        return found + number_problem("temperature", self.temperature, 0.01, 100)


register_model("two_towers", TwoTowersConfig, "dmf_keras.models.two_towers.model:TwoTowers")
