"""Target attention over IDs, and similarity histograms beside it."""

from __future__ import annotations

from collections.abc import Mapping

from keras import ops

from dmf_keras.layers import SimilarityHistogram
from dmf_keras.models.interest_model import HISTORY_MASK
from dmf_keras.models.similarity_model import SimilarityModel
from dmf_keras.models.simtier import SimTierConfig
from dmf_keras.models.target_attention.model import IDTargetAttention
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.models.SimTier")
class SimTier(IDTargetAttention, SimilarityModel):
    """The interest is the target attention over IDs and, per modality, how the history spreads over similarities.

    Both go into the head side by side: content reaches the score through the counts c_n alone.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("simtier", {"heads": 2}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'history_present_text', 'history_vectors_text', 'keys', 'user_part', 'values']

    References:
        SimTier, arXiv:2407.19467, without the pre-training of MAKE.
    """

    config_class = SimTierConfig
    config: SimTierConfig
    uses_content = True

    def build_interest(self) -> int:
        """See the base class."""
        config = self.config
        self.histogram = SimilarityHistogram(
            config.buckets, config.histogram, name="histogram", dtype=self.dtype_policy
        )
        self.histogram.build((None, None, None))
        return super().build_interest() + len(self.schema.modalities) * (config.buckets + 1)

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor:
        """o_n and the histograms, [B, N, a + M (S + 1)]."""
        return self.join_interest(self.interest_parts(state, candidates, inputs, training))

    def interest_parts(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> dict[str, Tensor]:
        """`attention` o_n [B, N, a] and `histogram` [B, N, M (S + 1)]."""
        counts = [self.histogram(ids, state[HISTORY_MASK]) for ids in self.bucket_ids(state, inputs)]
        attended = super().interest(state, candidates, inputs, training)
        return {"attention": attended, "histogram": ops.concatenate(counts, axis=-1)}
