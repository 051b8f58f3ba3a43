"""Target attention over IDs alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dmf_keras.layers import TargetAttention
from dmf_keras.models.explanation import attention_outputs
from dmf_keras.models.interest_model import HISTORY_MASK, InterestModel
from dmf_keras.models.model_config import ModelConfig
from dmf_keras.models.target_attention import TargetAttentionConfig
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

# State tensors of attention, [B, L, heads, A].
KEYS, VALUES = "keys", "values"


@dmf_keras_export("dmf_keras.models.IDTargetAttention")
class IDTargetAttention(InterestModel):
    """The interest is the target attention of a candidate over the history's ID embeddings; no content.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("target_attention", {"heads": 2}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'keys', 'user_part', 'values']

    References:
        The ID-only baseline of DMF, arXiv:2510.11066.
    """

    config_class: ClassVar[type[ModelConfig]] = TargetAttentionConfig
    config: TargetAttentionConfig
    uses_content = False

    def build_interest(self) -> int:
        """See the base class."""
        self.attention = self.build_attention()
        items = (None, None, self.item_width())
        self.attention.build(items, items)
        self.build_ages(keys=self.config.attention_dim, values=self.config.attention_dim)
        return self.config.attention_dim

    def build_attention(self) -> Any:
        """The layer of attention, not built."""
        config = self.config
        return TargetAttention(
            config.attention_dim,
            config.heads,
            dropout=config.attention_dropout,
            name="attention",
            dtype=self.dtype_policy,
        )

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """`keys` and `values` of the history, those of its items' ages added."""
        keys, values = self.attention.encode_history(self.seen_items(inputs, training))
        state = super().encode_interest(inputs, history_mask, training)
        return {**state, KEYS: self.add_ages(KEYS, keys, inputs), VALUES: self.add_ages(VALUES, values, inputs)}

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor:
        """o_n [B, N, a]."""
        return self.attend(state, candidates, inputs, training)

    def attend(
        self,
        state: Mapping[str, Tensor],
        candidates: Tensor,
        inputs: Mapping[str, Tensor],
        training: bool,
        return_weights: bool = False,
    ) -> Any:
        """o_n [B, N, a]; `return_weights`: also the weights [B, H, N, L]."""
        keys, values, mask = state[KEYS], state[VALUES], state[HISTORY_MASK]
        return self.attention.attend(candidates, keys, values, mask, return_weights, training)

    def explain_history(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The attention weights."""
        _, weights = self.attend(state, candidates, inputs, training=False, return_weights=True)
        return {**super().explain_history(state, candidates, inputs), **attention_outputs(weights)}
