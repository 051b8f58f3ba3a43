"""The frame of all models of the registry: embeddings, an interest of the user in each candidate, one head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from dmf_keras.layers import InterestHead
from dmf_keras.models.configs import InterestConfig
from dmf_keras.models.inputs import CANDIDATE_INDEX, HISTORY_INDEX, USER_INDEX
from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.models.schema import RankingSchema
from dmf_keras.types import Tensor

# State tensors that every model has: bool [B, L], false for padding, and the user part of the head [B, H1].
HISTORY_MASK, USER_PART = "history_mask", "user_part"


class InterestModel(RankingModel):
    """A ranking model that differs from others in one thing: the interest of the user in each candidate.

    The head is an MLP on user, profile and context (user part), the embedding e_n of the candidate (item part) and the
    interest (pair part). Subclasses write `build_interest`, `interest` and mostly `encode_interest`; padding and an
    empty history are theirs to get right.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.
    """

    config: InterestConfig

    def __init__(self, schema: RankingSchema, config: InterestConfig, **kwargs: Any) -> None:
        super().__init__(schema, config, **kwargs)
        self.item_embedding = self._embedding(schema.item_rows, config.id_dim, "item_embedding", config.embedding_l2)
        if schema.user_rows is not None:
            self.user_embedding = self._embedding(
                schema.user_rows, config.id_dim, "user_embedding", config.embedding_l2
            )
        self.column_embeddings = {
            name: self._embedding(rows, config.feature_dim, f"{name}_embedding")
            for name, rows in schema.categorical.items()
        }
        width = self.build_interest()
        self.head = InterestHead(config.hidden_units, dropout=config.dropout, name="head", dtype=self.dtype_policy)
        self.head.build(
            (None, self.user_width()), (None, None, config.id_dim), None if width is None else (None, None, width)
        )
        self.built = True

    def _embedding(self, rows: int, width: int, name: str, l2: float = 0.0) -> keras.layers.Embedding:
        penalty = keras.regularizers.L2(l2) if l2 else None
        layer = keras.layers.Embedding(rows, width, embeddings_regularizer=penalty, dtype=self.dtype_policy, name=name)
        layer.build((None,))
        return layer

    def build_interest(self) -> int | None:
        """Creates the layers of the interest, built, and returns its width; None: there is no pair part."""
        raise NotImplementedError(f"{type(self).__name__} must implement `build_interest`")

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """What the interest needs of the user, besides the mask: tensors [B, ...] by name; nothing by default."""
        return {}

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor | None:
        """The interest [B, N, width] in candidates with embeddings [B, N, d]."""
        raise NotImplementedError(f"{type(self).__name__} must implement `interest`")

    def user_width(self) -> int:
        """Width U of `user_features`."""
        users = self.config.id_dim if self.schema.user_rows is not None else 0
        return users + self.config.feature_dim * len(self.schema.categorical) + len(self.schema.numeric)

    def user_features(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Tensor:
        """User, profile and context side by side, [B, U]; U is 0 when the schema has none of them."""
        parts = [embedding(inputs[name]) for name, embedding in self.column_embeddings.items()]
        if self.schema.user_rows is not None:
            parts.append(self.user_embedding(inputs[USER_INDEX]))
        parts += [ops.expand_dims(ops.cast(inputs[name], self.compute_dtype), 1) for name in self.schema.numeric]
        if not parts:
            return ops.zeros((ops.shape(inputs[HISTORY_INDEX])[0], 0), dtype=self.compute_dtype)
        return ops.concatenate(parts, axis=-1)

    def encode_user(self, inputs: Mapping[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """The user's state.

        Args:
            inputs: see `dmf_keras.models.inputs.user_inputs`; others are ignored.
            training: whether layers of the user part behave as in training.

        Returns:
            `history_mask` bool [B, L], `user_part` [B, H1], and what the model's interest needs.

        Raises:
            ValueError: missing inputs, wrong ranks or dtypes.
        """
        self.check_user_inputs(inputs)
        mask = ops.not_equal(inputs[HISTORY_INDEX], 0)
        state = self.encode_interest(inputs, mask, training)
        user_part = self.head.encode_user(self.user_features(inputs, state))
        return {**state, HISTORY_MASK: mask, USER_PART: user_part}

    def score(self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Logits of candidates.

        Args:
            state: of `encode_user`.
            inputs: see `dmf_keras.models.inputs.candidate_inputs` and `candidate_content`; others are ignored.
            training: whether units are dropped.

        Returns:
            float32 [B, N]; at padded candidates meaningless.

        Raises:
            ValueError: missing inputs, wrong ranks or dtypes.
        """
        self.check_candidate_inputs(inputs)
        candidates = self.item_embedding(inputs[CANDIDATE_INDEX])
        interest = self.interest(state, candidates, inputs, training)
        return self.head.score_items(state[USER_PART], candidates, interest, training)
