"""Deep Interest Network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from keras import ops

from dmf_keras.layers import LocalActivationUnit
from dmf_keras.models.din import DINConfig
from dmf_keras.models.explanation import ACTIVATION
from dmf_keras.models.inputs import CANDIDATE_INDEX
from dmf_keras.models.interest_model import HISTORY_MASK, InterestModel
from dmf_keras.models.model_config import ModelConfig
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

# State tensors: the history's embeddings [B, L, d] and their part in the activation unit's first layer.
HISTORY, HISTORY_PART = "history", "history_part"


@dmf_keras_export("dmf_keras.models.DIN")
class DIN(InterestModel):
    """The interest is the history's embeddings summed with the weights of a local activation unit; no content.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("din", {}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history', 'history_mask', 'history_part', 'user_part']

    References:
        DIN, arXiv:1706.06978; the head is this library's, with ReLU.
    """

    config_class: ClassVar[type[ModelConfig]] = DINConfig
    config: DINConfig
    uses_content = False
    # Whether the weights of the history sum to 1.
    normalize: ClassVar[bool] = False

    def build_interest(self) -> int:
        """See the base class."""
        config = self.config
        self.activation_unit = LocalActivationUnit(
            config.activation_units,
            config.activation,
            normalize=self.normalize,
            name="activation_unit",
            dtype=self.dense_policy,
        )
        items = (None, None, self.item_width())
        self.activation_unit.build(items, items)
        self.build_ages(history=self.item_width())
        return self.item_width()

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """`history` and `history_part`."""
        history = self.add_ages(HISTORY, self.seen_items(inputs, training), inputs)
        part = self.activation_unit.encode_history(history)
        return {**super().encode_interest(inputs, history_mask, training), HISTORY: history, HISTORY_PART: part}

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor:
        """The weighted sum of the history, [B, N, d]."""
        real = ops.not_equal(inputs[CANDIDATE_INDEX], 0)
        return self.activation_unit.attend(
            candidates, state[HISTORY], state[HISTORY_PART], state[HISTORY_MASK], real, training=training
        )

    def explain_history(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The weights of the activation unit."""
        _, weights = self.activation_unit.attend(
            candidates, state[HISTORY], state[HISTORY_PART], state[HISTORY_MASK], return_weights=True
        )
        return {**super().explain_history(state, candidates, inputs), ACTIVATION: ops.cast(weights, "float32")}
