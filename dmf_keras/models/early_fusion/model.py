"""DMF with similarity fused before the projections: what decoupling is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from dmf_keras.layers import EarlyFusionTargetAttention
from dmf_keras.models.dmf.model import DMFPaper
from dmf_keras.models.early_fusion import EarlyFusionConfig
from dmf_keras.models.interest_model import HISTORY_MASK
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

# State tensor: the history's embeddings [B, L, d]. Keys and values depend on the candidate, so none can be kept.
HISTORY = "history"


@dmf_keras_export("dmf_keras.models.EarlyFusion")
class EarlyFusion(DMFPaper):
    """`DMFPaper` whose attention projects concat(e_hj, E_S[b_nj]) for every pair; all else is as in DMF.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("early_fusion", {"similarity_dim": 4}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history', 'history_mask', 'history_present_text', 'history_vectors_text', 'user_part']

    References:
        The baseline of DMF, arXiv:2510.11066.
    """

    config_class = EarlyFusionConfig
    config: EarlyFusionConfig

    def build_attention(self) -> keras.layers.Layer:
        """See the base class."""
        config = self.config
        layer = EarlyFusionTargetAttention(
            config.attention_dim,
            config.heads,
            config.buckets,
            list(self.schema.modalities),
            config.similarity_dim,
            dropout=config.attention_dropout,
            name="attention",
            dtype=self.dense_policy,
        )
        items = (None, None, config.id_dim)
        layer.build(items, items)
        self.build_ages(history=config.id_dim)
        return layer

    def encode_history(self, history: Tensor, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The embeddings, and before any projection those of the ages."""
        return {HISTORY: self.add_ages(HISTORY, history, inputs)}

    def attend(
        self,
        state: Mapping[str, Tensor],
        candidates: Tensor,
        bucket_ids: list[Tensor],
        training: bool,
        return_weights: bool = False,
        pair_mask: Tensor | None = None,
    ) -> Any:
        """See the base class."""
        history, mask = state[HISTORY], state[HISTORY_MASK]
        return self.attention(
            candidates,
            history,
            bucket_ids,
            mask,
            return_weights=return_weights,
            training=training,
            pair_mask=pair_mask,
        )
