"""A user vector, an item vector, their dot product."""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import ops

from dmf_keras.layers import AttentionPooling, DotProductHead
from dmf_keras.models.inputs import CANDIDATE_INDEX, HISTORY_INDEX
from dmf_keras.models.interest_model import USER_PART
from dmf_keras.models.joined_items import JoinedItems
from dmf_keras.models.mean_pooling.model import POOLED
from dmf_keras.models.two_towers import TwoTowersConfig
from dmf_keras.models.unknown_ids import some_unknown
from dmf_keras.ops import masked_mean
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.models.TwoTowers")
class TwoTowers(JoinedItems):
    """Users and items each have a vector, and a score is their dot product: the model of retrieval.

        x = [e, P_1 m_1 + b_1, ..., P_M m_M + b_M]
        u = s f([pool(x_h1 ... x_hL), profile, context]),    v = g(x_n, columns),    logit = u . v + c

    with e an item's ID and columns, m its content, f and g MLPs whose outputs have length 1 (`DotProductHead`). A cold
    item has a vector by its content and columns. Nothing sees user and item together, so a catalogue's vectors can be
    kept and searched; for the same reason a ranker is ahead of it. As a model among others it is trained on labels of
    impressions; for retrieval the pipeline trains it against the whole catalogue.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("two_towers", {"dim": 16}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> tuple(model.user_tower({"history_index": rows, "history_content_row": rows}).shape)
    (1, 16)
    >>> tuple(model.item_tower({"candidate_index": rows, "candidate_content_row": rows}).shape)
    (1, 3, 16)

    References:
        Covington et al. 2016, Deep neural networks for YouTube recommendations; Yi et al. 2019 (RecSys).
    """

    config_class = TwoTowersConfig
    config: TwoTowersConfig

    def _without_some_ids(self, inputs: Mapping[str, Tensor], name: str, training: bool) -> Mapping[str, Tensor]:
        """`inputs` whose items of input `name` are out of vocabulary at random in training; padding stays padding."""
        if not training or not self.config.id_dropout:
            return inputs
        rows = self.schema.item_rows
        return {**inputs, name: some_unknown(inputs[name], self.config.id_dropout, rows, self.id_draws)}

    @property
    def joined(self) -> list[str]:
        """See the base class; a width of 0 joins nothing."""
        return super().joined if self.config.content_dim else []

    def build_interest(self) -> None:
        """There is no pair part."""
        self.id_draws = keras.random.SeedGenerator(name="id_draws")
        if self.config.pooling == "attention":
            self.pooling = AttentionPooling(
                self.config.dim, self.config.positions, name="pooling", dtype=self.dtype_policy
            )
            self.pooling.build((None, None, self.item_width()))
        self.build_ages(history=self.item_width())

    def user_width(self) -> int:
        """See the base class."""
        return super().user_width() + self.item_width()

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """`pooled` [B, item_width]."""
        shown = self._without_some_ids(inputs, HISTORY_INDEX, training)
        history = self.add_ages("history", self.seen_items(shown, training), inputs)
        if self.config.pooling == "attention":
            pooled = self.pooling(history, history_mask)
        else:
            pooled = masked_mean(history, history_mask, axis=1)
        return {POOLED: ops.cast(pooled, self.compute_dtype)}

    def user_features(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of the base class, and what was made of the history."""
        return {**super().user_features(inputs, state), HISTORY_INDEX: state[POOLED]}

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> None:
        """There is no pair part."""

    def build_head(self) -> DotProductHead:
        """See the base class."""
        config = self.config
        return DotProductHead(
            config.dim,
            config.hidden_units,
            config.temperature,
            dropout=config.dropout,
            outputs=self.outputs,
            name="head",
            # Of vectors in bfloat16 the nearest items are others.
            dtype="float32",
        )

    def encode_features(self, features: Mapping[str, Tensor], rows: Tensor, training: bool = False) -> Tensor:
        """The user vectors, [rows, T * D]."""
        return self.head.encode_user(ops.concatenate(list(features.values()), axis=-1), training)

    def score(self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """See the base class; some candidates are out of vocabulary in training."""
        return super().score(state, self._without_some_ids(inputs, CANDIDATE_INDEX, training), training)

    def user_tower(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """User vectors float32 [B, D], of several objectives those of the first.

        Args:
            inputs: those of `encode_user`.
            training: whether layers behave as in training.
        """
        return self.encode_user(inputs, training)[USER_PART][:, : self.config.dim]

    def item_tower(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Item vectors float32 [B, N, D], of length 1, of the candidates in `inputs`, those of `score`."""
        shown = self._without_some_ids(inputs, CANDIDATE_INDEX, training)
        return self.head.encode_item(self.head_items(self.candidate_items(shown), self.own_columns(inputs)), training)
