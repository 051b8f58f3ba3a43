"""Models of target attention over IDs with similarity histograms beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmf_keras.models.configs import SimilarAttentionConfig
from dmf_keras.models.histogram_model import ATTENTION, HISTOGRAM, HistogramModel
from dmf_keras.models.interest_model import HISTORY_MASK
from dmf_keras.models.target_attention.model import KEYS, VALUES, IDTargetAttention
from dmf_keras.types import Tensor


class HistogramAttention(HistogramModel, IDTargetAttention):
    """Attention and histograms of cosines that are computed once; `history_top_k` cuts the attention."""

    config: SimilarAttentionConfig  # type: ignore[assignment]  # both bases' own

    def attend(
        self,
        state: Mapping[str, Tensor],
        candidates: Tensor,
        inputs: Mapping[str, Tensor],
        training: bool,
        return_weights: bool = False,
    ) -> Any:
        """See the base class."""
        cosines = [cosine for cosine, _ in self.compared(state, inputs)]
        kept = self.attended_pairs(state, inputs, cosines)
        return self.attend_pairs(state, candidates, cosines, kept, training, return_weights)

    def attend_pairs(
        self,
        state: Mapping[str, Tensor],
        candidates: Tensor,
        cosines: list[Tensor],
        pair_mask: Tensor | None,
        training: bool,
        return_weights: bool = False,
    ) -> Any:
        """`attend` for who has the cosines [B, N, L] and what is kept of them, bool [B, N, L]."""
        keys, values, mask = state[KEYS], state[VALUES], state[HISTORY_MASK]
        return self.attention.attend(candidates, keys, values, mask, return_weights, training, pair_mask)

    def interest_parts(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> dict[str, Tensor]:
        """`attention` o_n [B, N, a] and `histogram` [B, N, M (S + 1)]."""
        cosines, ids = map(list, zip(*self.compared(state, inputs), strict=True))
        kept = self.attended_pairs(state, inputs, cosines)
        attended = self.attend_pairs(state, candidates, cosines, kept, training)
        return {ATTENTION: attended, HISTOGRAM: self.histograms(ids, state[HISTORY_MASK])}
