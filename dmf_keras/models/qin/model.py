"""Sparse target attention over IDs and content side by side, and a head of quadratic layers."""

from __future__ import annotations

from collections.abc import Mapping

from keras import ops

from dmf_keras.layers import QuadraticHead, SparseTargetAttention
from dmf_keras.models.explanation import ACTIVATION
from dmf_keras.models.interest_model import HISTORY_MASK
from dmf_keras.models.joined_items import JoinedItems
from dmf_keras.models.qin import QINConfig
from dmf_keras.models.target_attention.model import KEYS, VALUES
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.models.QIN")
class QIN(JoinedItems):
    """Quadratic interest network.

        x = [e, P_1 m_1 + b_1, ..., P_M m_M + b_M],    o_n = W_o sum_j relu(W_q x_n . W_k x_hj / sqrt(A)) W_v x_hj
        logit = QNN([user, x_n, o_n + x_n])

    with the attention of `SparseTargetAttention` and the network of `QuadraticHead`, which stands in the place of the
    other models' MLP: all its columns go on per candidate and layer, D^2 multiplications for D = user + 2 x item.
    The part `history` of a logit is o_n alone; x_n is a part of `item`, in both of its places.

    Against the authors' code: projections have a bias, no item tags of its own (columns of items take their place), and
    dropout is 0 by default as for all models here, where theirs is 0.1. Its penalty on all embedding tables is
    `embedding_l2` here.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("qin", {"quadratic_layers": 2}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'keys', 'user_part', 'values']

    References:
        QIN, arXiv:2504.17699, and its public code (salmon1802/QIN).
    """

    config_class = QINConfig
    config: QINConfig

    def build_interest(self) -> int:
        """See the base class."""
        self.attention = SparseTargetAttention(self.config.attention_dim, name="attention", dtype=self.dtype_policy)
        items = (None, None, self.item_width())
        self.attention.build(items, items)
        self.build_ages(keys=self.config.attention_dim, values=self.item_width())
        return self.item_width()

    def build_head(self) -> QuadraticHead:
        """See the base class."""
        config = self.config
        return QuadraticHead(
            config.quadratic_layers, config.dropout, self.outputs, name="head", dtype=self.dtype_policy
        )

    def apply_head(
        self, user_part: Tensor, items: Tensor, pair: Tensor | None, real: Tensor | None = None, training: bool = False
    ) -> Tensor:
        """See the base class; u_n = o_n + x_n is made here, of whatever part of both there is."""
        assert pair is not None, "there is an interest in every history"
        width = self.item_width()
        # Further histories have their o_n behind that of the main one.
        pair = ops.concatenate([items[..., :width] + pair[..., :width], pair[..., width:]], axis=-1)
        return self.head.score_items(user_part, items, pair, training, real if training else None)

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """`keys` [B, L, A] and `values` [B, L, J] of the history."""
        keys, values = self.attention.encode_history(self.seen_items(inputs, training))
        state = super().encode_interest(inputs, history_mask, training)
        return {**state, KEYS: self.add_ages(KEYS, keys, inputs), VALUES: self.add_ages(VALUES, values, inputs)}

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor:
        """o_n [B, N, J]."""
        return self.attention.attend(candidates, state[KEYS], state[VALUES], state[HISTORY_MASK])

    def explain_history(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The weights of the sparse attention."""
        _, weights = self.attention.attend(
            candidates, state[KEYS], state[VALUES], state[HISTORY_MASK], return_weights=True
        )
        return {ACTIVATION: ops.cast(weights, "float32")}
