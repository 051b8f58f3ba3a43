"""The simplest reading of a history."""

from __future__ import annotations

from collections.abc import Mapping

from keras import ops

from dmf_keras.models.inputs import HISTORY_INDEX
from dmf_keras.models.interest_model import InterestModel
from dmf_keras.models.mean_pooling import MeanPoolingConfig
from dmf_keras.ops import masked_mean
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

# State tensor: the mean embedding of the history [B, d].
POOLED = "pooled"


@dmf_keras_export("dmf_keras.models.MeanPooling")
class MeanPooling(InterestModel):
    """The mean of the history's ID embeddings, zeros for an empty one, beside the user's features; no content.

    The interest does not depend on the candidate, so it is in the user part of the head and nothing is left to do per
    pair.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("mean_pooling", {}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'pooled', 'user_part']

    References:
        Covington et al. 2016, Deep neural networks for YouTube recommendations.
    """

    config_class = MeanPoolingConfig
    uses_content = False

    def build_interest(self) -> None:
        """There is no pair part."""
        self.build_ages(history=self.config.id_dim)

    def user_width(self) -> int:
        """See the base class."""
        return super().user_width() + self.config.id_dim

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """`pooled` [B, d]."""
        history = self.add_ages("history", self.seen_items(inputs, training), inputs)
        pooled = masked_mean(history, history_mask, axis=1)
        return {POOLED: ops.cast(pooled, self.compute_dtype)}

    def user_features(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of the base class, and what was made of the history."""
        return {**super().user_features(inputs, state), HISTORY_INDEX: state[POOLED]}

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> None:
        """There is no pair part."""
