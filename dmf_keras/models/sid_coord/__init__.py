"""`sid_coord`: semantic ids beside IDs, weighed by how often an item was shown."""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.inputs import IMPRESSIONS, statistics_problem
from dmf_keras.models.model_config import count_problem
from dmf_keras.models.registry import register_model
from dmf_keras.models.target_attention import TargetAttentionConfig


@dataclass(frozen=True)
class SIDCoordConfig(TargetAttentionConfig):
    """Hyper-parameters of `dmf_keras.models.SIDCoord`.

    Args:
        pair_rows: embedding rows of each pair of adjacent levels at most; beyond, pairs share rows by a hash.
        statistics: counts of an item in train that the gate reads: impressions, positives.
        gate_units: width of the gate's hidden layer.
        bins: soft bins of the cosines of semantic ids.
        bin_dim: width of a bin's embedding.
    """

    needs_content = True
    needs_codes = True

    pair_rows: int = 100_000
    statistics: tuple[str, ...] = (IMPRESSIONS,)
    gate_units: int = 16
    bins: int = 8
    bin_dim: int = 8

    def reads_statistics(self) -> tuple[str, ...]:
        """See the base class."""
        return self.statistics

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems()]
        for name in ("pair_rows", "gate_units", "bins", "bin_dim"):
            found += count_problem(name, getattr(self, name))
        if not isinstance(self.statistics, tuple) or not self.statistics:
            return [*found, f"statistics must be a list of at least one name, got {self.statistics!r}"]
        return found + statistics_problem("statistics", self.statistics)


register_model(
    "sid_coord",
    SIDCoordConfig,
    "dmf_keras.models.sid_coord.model:SIDCoord",
    parts={"alignment": "cosines of semantic ids"},
)
