"""Target attention over content beside target attention over IDs, and similarity features."""

from __future__ import annotations

from collections.abc import Mapping

from keras import ops

from dmf_keras.layers import TargetAttention
from dmf_keras.models.explanation import attention_outputs
from dmf_keras.models.histogram_model import ATTENTION, HistogramModel
from dmf_keras.models.interest_model import HISTORY_MASK
from dmf_keras.models.joined_items import JoinedItems
from dmf_keras.models.mim import MIMConfig
from dmf_keras.models.target_attention.model import KEYS, VALUES
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

# State tensors of the attention over content, [B, L, heads, A].
CONTENT_KEYS, CONTENT_VALUES = "content_keys", "content_values"
# Parts of a logit: what came out of the attention over content, and what is made of cosines.
CONTENT, SIMILARITY = "content", "similarity"


@dmf_keras_export("dmf_keras.models.MIM")
class MIM(HistogramModel, JoinedItems):
    """The user-behaviour model of MIM (CiUBM): IDs and content, each with an attention of its own, in one ranker.

        o_n = TargetAttention(e_n, e_h1 ... e_hL),    a_n = TargetAttention(p_n, p_h1 ... p_hL)
        head(user, [e_n, p_n], o_n, a_n, c_n, r_n)

    with p = [P_1 m_1 + b_1, ..., P_M m_M + b_M] the projected content, c_n the histograms of similarity buckets, and
    r_n the cosines of candidate and history item one by one, for the `recent` last items of the history, most recent
    first; 0 where there is no such item or no content. Nothing has a vector per pair.

    The paper (three stages: alignment of image and text, fine-tuning by behaviour, this model) is public as an abstract
    alone: it says that content vectors and IDs meet in a behaviour model, and no equation. All above is a reading of
    ours, of the usual blocks. The vectors may come from any encoder, of the same one for all items.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("mim", {"content_dim": 4}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))[:3]
    ['content_keys', 'content_values', 'history_mask']

    References:
        MIM, arXiv:2502.00321.
    """

    config_class = MIMConfig
    config: MIMConfig

    def build_interest(self) -> int:
        """See the base class."""
        self.build_histogram()
        self.attention = self._attention("attention", self.config.id_dim)
        self.content_attention = self._attention("content_attention", self.item_width() - self.config.id_dim)
        width = self.config.attention_dim
        self.build_ages(keys=width, values=width, content_keys=width, content_values=width)
        cosines = self.config.recent * len(self.schema.modalities)
        return 2 * width + self.histogram_width() + cosines

    def _attention(self, name: str, width: int) -> TargetAttention:
        config = self.config
        layer = TargetAttention(
            config.attention_dim, config.heads, dropout=config.attention_dropout, name=name, dtype=self.dtype_policy
        )
        layer.build((None, None, width), (None, None, width))
        return layer

    def _split(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """IDs [..., d] and projected content of joined vectors."""
        return items[..., : self.config.id_dim], items[..., self.config.id_dim :]

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """The content of the history, and keys and values of both attentions."""
        ids, content = self._split(self.seen_items(inputs, training))
        of_ids = zip((KEYS, VALUES), self.attention.encode_history(ids), strict=True)
        of_content = zip((CONTENT_KEYS, CONTENT_VALUES), self.content_attention.encode_history(content), strict=True)
        state = super().encode_interest(inputs, history_mask, training)
        return state | {name: self.add_ages(name, vectors, inputs) for name, vectors in (*of_ids, *of_content)}

    def interest_parts(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> dict[str, Tensor]:
        """`attention` o_n and `content` a_n [B, N, a], `similarity` [c_n, r_n] [B, N, M (S + 1) + M K]."""
        ids, content = self._split(candidates)
        mask = state[HISTORY_MASK]
        cosines, buckets = zip(*self.compared(state, inputs), strict=True)
        kept = self.attended_pairs(state, inputs, cosines)
        by_content = self.content_attention.attend(
            content, state[CONTENT_KEYS], state[CONTENT_VALUES], mask, training=training, pair_mask=kept
        )
        places = _recent_places(mask, self.config.recent)
        counts = self.histograms(list(buckets), mask)
        recent = [ops.cast(ops.matmul(cosine, places), counts.dtype) for cosine in cosines]
        return {
            ATTENTION: self.attention.attend(ids, state[KEYS], state[VALUES], mask, training=training, pair_mask=kept),
            CONTENT: by_content,
            SIMILARITY: ops.concatenate([counts, *recent], axis=-1),
        }

    def explain_history(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Similarities, and the weights of the attention over IDs."""
        ids, _ = self._split(candidates)
        kept = self.attended_pairs(state, inputs, [cosine for cosine, _ in self.compared(state, inputs)])
        mask = state[HISTORY_MASK]
        _, weights = self.attention.attend(ids, state[KEYS], state[VALUES], mask, return_weights=True, pair_mask=kept)
        return {**super().explain_history(state, candidates, inputs), **attention_outputs(weights)}


def _recent_places(history_mask: Tensor, recent: int) -> Tensor:
    """Float32 [B, L, K]: 1 where a history item is the k-th most recent real one; a history is oldest first."""
    real = ops.cast(history_mask, "int32")
    # Of each item how many real ones there are from it on.
    from_it_on = ops.sum(real, axis=1, keepdims=True) - ops.cumsum(real, axis=1) + real
    place = ops.where(history_mask, from_it_on, 0)
    wanted = ops.arange(1, recent + 1, dtype="int32")
    return ops.cast(ops.expand_dims(place, -1) == wanted, "float32")
