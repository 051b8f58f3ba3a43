"""Target attention over IDs and content side by side."""

from __future__ import annotations

from collections.abc import Mapping

from keras import ops

from dmf_keras.models.content_concat import ContentConcatConfig
from dmf_keras.models.inputs import HISTORY_INDEX
from dmf_keras.models.joined_items import JoinedItems
from dmf_keras.models.mean_pooling.model import POOLED
from dmf_keras.models.target_attention.model import IDTargetAttention
from dmf_keras.ops import masked_mean
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.models.ContentConcat")
class ContentConcat(JoinedItems, IDTargetAttention):
    """Items are ID embedding and projected content side by side; the rest is target attention and the head.

        x = [e, P_1 m_1 + b_1, ..., P_M m_M + b_M]
        o_n = TargetAttention(x_n, x_h1 ... x_hL),    head(user, x_n, o_n)

    The candidate's own content reaches the head, which models that see similarities alone do not have. Nothing is added
    per pair: candidates are projected once each, the history once per user. With `pooling="mean"` the interest is the
    mean of x_hj, a part of the user's features.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("content_concat", {"content_dim": 4}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'keys', 'user_part', 'values']

    References:
        The strong baselines of multimodal CTR: the input of the challenge's winners (arXiv:2505.03543), and `dnn_mm` of
        MMCTR-Bench. Widths and attention are this library's.
    """

    config_class = ContentConcatConfig
    config: ContentConcatConfig

    def build_interest(self) -> int | None:  # type: ignore[override]  # or no pair part
        """See the base class; a mean has no attention and makes no pair part."""
        if self.config.pooling == "attention":
            return super().build_interest()
        self.build_ages(history=self.item_width())
        return None

    def user_width(self) -> int:
        """See the base class."""
        return super().user_width() + (self.item_width() if self.config.pooling == "mean" else 0)

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """`keys` and `values` of the history, or `pooled` [B, item_width]."""
        if self.config.pooling == "attention":
            return super().encode_interest(inputs, history_mask, training)
        history = self.add_ages("history", self.seen_items(inputs, training), inputs)
        pooled = masked_mean(history, history_mask, axis=1)
        return {POOLED: ops.cast(pooled, self.compute_dtype)}

    def user_features(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of the base class, and the mean."""
        features = super().user_features(inputs, state)
        return {**features, HISTORY_INDEX: state[POOLED]} if self.config.pooling == "mean" else features

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor | None:
        """o_n [B, N, a], or none."""
        if self.config.pooling == "mean":
            return None
        return super().interest(state, candidates, inputs, training)

    def explain_history(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The attention weights; of a mean there is nothing to tell."""
        return {} if self.config.pooling == "mean" else super().explain_history(state, candidates, inputs)
