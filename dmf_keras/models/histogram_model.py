"""Models whose head gets similarity histograms beside another interest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from keras import ops

from dmf_keras.layers import SimilarityHistogram
from dmf_keras.models.configs import HistogramConfig
from dmf_keras.models.interest_model import HISTORY_MASK
from dmf_keras.models.similarity_model import SimilarityModel
from dmf_keras.types import Tensor

# Parts of a logit: what another class makes of the history, and the histograms.
ATTENTION, HISTOGRAM = "attention", "histogram"


class HistogramModel(SimilarityModel):
    """A `SimilarityModel` that counts the history by similarity, beside an interest of another class (SimTier).

    To be named before the class of that interest.
    """

    config: HistogramConfig
    uses_content = True

    def build_interest(self) -> int:
        """See the base class."""
        self.build_histogram()
        return cast(int, super().build_interest()) + self.histogram_width()

    def build_histogram(self) -> None:
        """Creates the layer that counts."""
        self.histogram = SimilarityHistogram(
            self.config.buckets, self.config.histogram, name="histogram", dtype=self.dtype_policy
        )
        self.histogram.build((None, None, None))

    def histogram_width(self) -> int:
        """Width of the histograms side by side."""
        return len(self.schema.modalities) * (self.config.buckets + 1)

    def histograms(self, bucket_ids: list[Tensor], history_mask: Tensor) -> Tensor:
        """Histograms of all modalities side by side, [B, N, M (S + 1)], of `bucket_ids`."""
        return ops.concatenate([self.histogram(ids, history_mask) for ids in bucket_ids], axis=-1)

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor:
        """The other interest and the histograms, side by side."""
        return self.join_interest(self.interest_parts(state, candidates, inputs, training))

    def interest_parts(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> dict[str, Tensor]:
        """`attention` [B, N, a] and `histogram` [B, N, M (S + 1)]."""
        counts = self.histograms(self.bucket_ids(state, inputs), state[HISTORY_MASK])
        return {ATTENTION: super().interest(state, candidates, inputs, training), HISTOGRAM: counts}
