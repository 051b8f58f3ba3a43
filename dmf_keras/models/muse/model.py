"""Semantic-aware target attention, and similarity histograms beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from dmf_keras.layers import SemanticTargetAttention
from dmf_keras.models.histogram_attention import HistogramAttention
from dmf_keras.models.interest_model import HISTORY_MASK
from dmf_keras.models.muse import MUSEConfig
from dmf_keras.models.target_attention.model import KEYS, VALUES
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.models.MUSE")
class MUSE(HistogramAttention):
    """The ranking part of MUSE: attention over IDs whose logits know the cosines (SA-TA), and SimTier.

        o_n = sum_j softmax_j(g_1 s_nj + g_2 r_nj + g_3 s_nj r_nj) v_j,    head(user, e_n, o_n, c_n)

    with s_nj the product of query and key, r_nj the cosine of frozen content over a temperature of 0.1 and c_n the
    histograms of the similarity buckets; see `SemanticTargetAttention`. As in DMF content enters by the relation of a
    pair alone; here the cosine scales a logit, there a bucket has a key and a value. The cosines are computed once.

    What the paper leaves out, or is not here: it searches the history of 100,000 by content and attends to the best 50,
    and attends to the most recent 50 beside them; here the history of the request is all there is, of which
    `history_top_k` attends to the most similar items alone. Its counts are
    log(1 + count) times a learned scale per tier, which the head's first layer learns as well, and count padding; here
    padding is not counted. Its code has one modality; here each has gains of its own.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("muse", {"heads": 2}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'history_present_text', 'history_vectors_text', 'keys', 'user_part', 'values']

    References:
        MUSE, arXiv:2512.07216, and its public code (alimama-tech/MUSE).
    """

    config_class = MUSEConfig
    config: MUSEConfig

    def build_attention(self) -> keras.layers.Layer:
        """See the base class."""
        config = self.config
        return SemanticTargetAttention(
            config.attention_dim,
            config.heads,
            list(self.schema.modalities),
            dropout=config.attention_dropout,
            name="attention",
            dtype=self.dtype_policy,
        )

    def attend_pairs(
        self,
        state: Mapping[str, Tensor],
        candidates: Tensor,
        cosines: list[Tensor],
        pair_mask: Tensor | None,
        training: bool,
        return_weights: bool = False,
    ) -> Any:
        """See the base class."""
        keys, values, mask = state[KEYS], state[VALUES], state[HISTORY_MASK]
        return self.attention.attend(candidates, keys, values, cosines, mask, return_weights, training, pair_mask)
