"""The frame of all models of the registry: embeddings, an interest of the user in each candidate, one head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import keras
from keras import ops

from dmf_keras.layers import (
    AgeEmbedding,
    BiasTower,
    ColumnEmbedding,
    IdEmbedding,
    InterestHead,
    ItemColumns,
    ItemStatistics,
    MultiValueEmbedding,
)
from dmf_keras.models import explanation
from dmf_keras.models.configs import EmbeddingConfig, InterestConfig
from dmf_keras.models.inputs import (
    CANDIDATE_CONTENT_ROW,
    CANDIDATE_INDEX,
    HISTORY_AGE,
    HISTORY_CONTENT_ROW,
    HISTORY_INDEX,
    USER_INDEX,
    RankingSchema,
    as_shown,
    of_history,
    seen_by,
    state_of,
)
from dmf_keras.models.logit_parts import beside, explain_parts
from dmf_keras.models.padded_columns import columns_without_padding
from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.models.unknown_ids import some_unknown
from dmf_keras.ops.rows import CAN_TELL_DISTINCT, made_once
from dmf_keras.types import Tensor

# State tensors that every model has: bool [B, L], false for padding, and the user part of the head [B, H1].
HISTORY_MASK, USER_PART = "history_mask", "user_part"


class InterestModel(RankingModel):
    """A ranking model that differs from others in one thing: the interest of the user in each candidate.

    The head is an MLP on user, profile and context (user part), the vector e_n of the candidate with its own columns
    (item part) and the interest (pair part); the interest sees e_n alone. A tower beside it takes what a click owes to
    how the candidate was shown: in training of the values given, otherwise of the schema's constants. Subclasses write
    `build_interest`, `interest` and mostly `encode_interest`; padding and an empty history are theirs to get right.
    `build_ages` in the first and `add_ages` in the last tell a model how old the history's events are. `build_items`
    creates what item vectors are made of beside the embedding.

    Each further history of the schema (`schema.histories`) has an interest of its own, made by another instance of the
    model that sees that history alone: with weights of its own, over the same item vectors and content tables. These
    instances have no head; the frame joins their interests to that in the main history. A subclass need not know.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.
        items_of: the model that this is an instance for a further history of; None: it is a model of its own.
    """

    config: EmbeddingConfig
    has_objectives = True
    has_further_histories = True

    def __init__(
        self,
        schema: RankingSchema,
        config: EmbeddingConfig,
        items_of: InterestModel | None = None,
        **kwargs: Any,
    ) -> None:
        if items_of is not None:
            kwargs["content"] = items_of.content
        super().__init__(schema, config, **kwargs)
        self.ages: dict[str, AgeEmbedding] = {}
        self.further: dict[str, InterestModel] = {}
        if items_of is not None:
            self.column_embeddings, self.list_embeddings = {}, {}
            # Methods and not the model, whose layers Keras would take for this one's.
            self.history_items = items_of.history_items  # type: ignore[method-assign]
            self.seen_items = items_of.seen_items  # type: ignore[method-assign]
            self.interest_width = self.build_interest()
            self.built = True
            return
        self.item_embedding = self._embedding(schema.item_rows, config.id_dim, "item_embedding", config.embedding_l2)
        self.item_columns = self._item_columns()
        self.item_statistics = self._item_statistics()
        if schema.user_rows is not None:
            width, l2 = config.id_dim, config.embedding_l2
            self.user_embedding = self._embedding(schema.user_rows, width, "user_embedding", l2)
            self.user_draws = keras.random.SeedGenerator(name="user_draws") if config.user_dropout else None
        self.column_embeddings = {
            name: self._embedding(rows, config.feature_dim, f"{name}_embedding")
            for name, rows in schema.categorical.items()
        }
        self.list_embeddings = {
            name: self._list_embedding(name, rows) for name, rows in schema.categorical_lists.items()
        }
        self.candidate_columns = self._candidate_columns(biased=False)
        self.bias_tower = self._candidate_columns(biased=True)
        self.build_items()
        self.interest_width = self.build_interest()
        self.further = {name: self._for_further_history(name) for name in schema.histories}
        interests = [self, *self.further.values()]
        widths = [each.interest_width for each in interests if each.interest_width is not None]
        user_width = sum(each.user_width() for each in interests)
        item_width = self.item_width() + (0 if self.candidate_columns is None else self.candidate_columns.width)
        self.head = self.build_head()
        self.head.build((None, user_width), (None, None, item_width), (None, None, sum(widths)) if widths else None)
        self.built = True

    def _for_further_history(self, name: str) -> InterestModel:
        """An instance of this model that sees that history and nothing else of a user."""
        schema = RankingSchema(
            item_rows=self.schema.item_rows,
            content_rows=self.schema.content_rows,
            modalities=self.schema.modalities,
            history_age_buckets=self.schema.history_age_buckets,
            item_codes=self.schema.item_codes,
        )
        common = {"items_of": self, "dtype": self.dtype_policy, "dense_dtype": self.dense_policy}
        return type(self)(schema, self.config, name=f"{name}_interest", **common)

    def build_items(self) -> None:
        """Creates the layers that `candidate_items` and `history_items` need of a subclass; none by default."""

    def build_head(self) -> Any:
        """The head, not built: a layer with `encode_user` and `score_items`, as `InterestHead` has them."""
        config = cast(InterestConfig, self.config)
        return InterestHead(
            config.hidden_units,
            dropout=config.dropout,
            outputs=self.outputs,
            experts=config.experts,
            name="head",
            dtype=self.dense_policy,
        )

    def apply_head(
        self, user_part: Tensor, items: Tensor, pair: Tensor | None, real: Tensor | None = None, training: bool = False
    ) -> Tensor:
        """Logits of the head's inputs: `head_items`, the interest; `real` bool [B, N] is false for padding."""
        return self.head.score_items(user_part, items, pair, training)

    @property
    def outputs(self) -> int:
        """Logits per candidate."""
        return max(1, len(self.schema.objectives))

    def item_width(self) -> int:
        """Width of what an item is to the model, a candidate and one of the history alike."""
        return self.config.id_dim

    def _embedding(self, rows: int, width: int, name: str, l2: float = 0.0) -> IdEmbedding:
        penalty = keras.regularizers.L2(l2) if l2 else None
        layer = IdEmbedding(rows, width, embeddings_regularizer=penalty, dtype=self.dtype_policy, name=name)
        layer.build((None,))
        return layer

    def _list_embedding(self, name: str, rows: int) -> MultiValueEmbedding:
        layer = MultiValueEmbedding(rows, self.config.feature_dim, dtype=self.dtype_policy, name=f"{name}_embedding")
        layer.build()
        return layer

    def _candidate_columns(self, *, biased: bool) -> Any:
        """The layer of candidate columns of one role, or None: a `BiasTower` or a `ColumnEmbedding`."""
        schema = self.schema
        names = {n: rows for n, rows in schema.candidate_categorical.items() if (n in schema.candidate_bias) == biased}
        numbers = [name for name in schema.candidate_numeric if (name in schema.candidate_bias) == biased]
        if not names and not numbers:
            return None
        made, name = (BiasTower, "bias_tower") if biased else (ColumnEmbedding, "candidate_columns")
        layer = made(names, numbers, self.config.feature_dim, dtype=self.dtype_policy, name=name)
        layer.build()
        return layer

    def head_items(self, candidates: Tensor, columns: Tensor | None) -> Tensor:
        """The item part's input [B, N, ...]: e_n [B, N, d], joined with the candidate's own columns if any."""
        if columns is None:
            return candidates
        return ops.concatenate([ops.cast(candidates, columns.dtype), columns], axis=-1)

    def own_columns(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Candidate columns of role feature, embedded [B, N, C]; None where the schema has none."""
        if self.candidate_columns is None:
            return None
        return self.candidate_columns(columns_without_padding(inputs, self.schema))

    def bias(self, inputs: Mapping[str, Tensor], training: bool) -> Tensor:
        """The tower's logit: [B, N] of the values given in training or by `as_shown`, else [1, 1] of constants."""
        if self.bias_tower is None:
            return ops.zeros((1, 1))
        schema, told = self.schema, {name: as_shown(name) for name in self.schema.candidate_bias}
        if training:
            return self.bias_tower(columns_without_padding(inputs, schema))
        if set(told.values()) <= set(inputs):
            return self.bias_tower(columns_without_padding({**inputs, **{n: inputs[told[n]] for n in told}}, schema))
        kinds = {name: "int32" if name in schema.candidate_categorical else "float32" for name in schema.candidate_bias}
        return self.bias_tower({name: ops.full((1, 1), schema.candidate_bias[name], kinds[name]) for name in kinds})

    def _item_columns(self) -> ItemColumns | None:
        """The columns of items and, beside them, `item_projection`; None where the schema has none."""
        columns = self.schema.item_columns
        if not columns:
            return None
        names = {name: (spec.rows, spec.width) for name, spec in columns.items() if spec.rows is not None}
        numbers = [name for name, spec in columns.items() if spec.rows is None]
        rows, width = self.schema.content_rows, self.config.feature_dim
        layer = ItemColumns(rows, names, numbers, width, dtype=self.dtype_policy, name="item_columns")
        layer.build()
        self.item_projection = keras.layers.Dense(
            self.config.id_dim, use_bias=False, dtype=self.dtype_policy, name="item_projection"
        )
        self.item_projection.build((None, None, self.config.id_dim + layer.width))
        return layer

    def _item_statistics(self) -> ItemStatistics | None:
        """The counts of items that the configuration reads, None without; a model looks them up as it needs them."""
        names = self.config.reads_statistics()
        if not names:
            return None
        if not set(names) <= set(self.schema.item_statistics):
            raise ValueError(
                f"{type(self).__name__} reads counts of items: `schema.item_statistics` must name {', '.join(names)}. "
                f"Received: {', '.join(self.schema.item_statistics) or 'none'}"
            )
        layer = ItemStatistics(self.schema.content_rows, names, dtype=self.dtype_policy, name="item_statistics")
        layer.build()
        return layer

    def item_vectors(self, index: Tensor, content_row: Tensor) -> Tensor:
        """What items are to the model, [B, W, id_dim]: the ID's embedding, joined with the item's columns if any.

        Args:
            index: rows of the item embedding, int [B, W].
            content_row: rows of the catalogue's tables, int [B, W].
        """
        embedded = self.item_embedding(index)
        if self.item_columns is None:
            return embedded
        return self.item_projection(ops.concatenate([embedded, self.item_columns(content_row)], axis=-1))

    def candidate_items(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """What the candidates are to the model, [B, N, item_width]: their `item_vectors`."""
        return self.item_vectors(inputs[CANDIDATE_INDEX], inputs[CANDIDATE_CONTENT_ROW])

    def history_items(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The same of the history, [B, L, item_width]."""
        return self.item_vectors(inputs[HISTORY_INDEX], inputs[HISTORY_CONTENT_ROW])

    def seen_items(self, inputs: Mapping[str, Tensor], training: bool) -> Tensor:
        """`history_items`; in a training without XLA each item of the batch is made once, however often it occurs."""
        # Replicas would name different numbers of items, whose gradients are not gathered.
        once = training and CAN_TELL_DISTINCT and not self.jit_compile
        if not once or self.distribute_strategy.num_replicas_in_sync > 1:
            return self.history_items(inputs)

        def make(index: Tensor, row: Tensor) -> Tensor:
            return self.history_items({**inputs, HISTORY_INDEX: index, HISTORY_CONTENT_ROW: row})

        return made_once(make, inputs[HISTORY_INDEX], inputs[HISTORY_CONTENT_ROW], self.schema.content_rows)

    def build_ages(self, **widths: int) -> None:
        """Creates tables of ages, one a name, of its width, for `build_interest`; none where the schema has no ages."""
        buckets = self.schema.history_age_buckets
        if buckets is None:
            return
        self.ages = {
            name: AgeEmbedding(buckets, width, name=f"age_{name}", dtype=self.dtype_policy)
            for name, width in widths.items()
        }
        for layer in self.ages.values():
            layer.build()

    @property
    def uses_history_ages(self) -> bool:
        """Whether there are tables of ages."""
        return bool(self.ages)

    def add_ages(self, name: str, vectors: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """What is known of each history item, [B, L, ...], plus E[bucket of its age]; as it is without such a table."""
        if name not in self.ages:
            return vectors
        return vectors + ops.reshape(self.ages[name](inputs[HISTORY_AGE]), ops.shape(vectors))

    def build_interest(self) -> int | None:
        """Creates the layers of the interest, built, and returns its width; None: there is no pair part."""
        raise NotImplementedError(f"{type(self).__name__} must implement `build_interest`")

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """What the interest needs of the user, besides the mask: tensors [B, ...] by name; nothing by default."""
        return {}

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor | None:
        """The interest [B, N, width] in candidates that are `candidate_items` [B, N, item_width]."""
        raise NotImplementedError(f"{type(self).__name__} must implement `interest`")

    def interest_parts(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> dict[str, Tensor]:
        """What the interest is made of, [B, N, width] each, by name; `join_interest` makes the interest of it."""
        interest = self.interest(state, candidates, inputs, training)
        return {} if interest is None else {explanation.HISTORY: interest}

    def join_interest(self, parts: Mapping[str, Tensor]) -> Tensor | None:
        """The interest of its parts."""
        return ops.concatenate(list(parts.values()), axis=-1) if parts else None

    def user_width(self) -> int:
        """Width of all `user_features` side by side."""
        users = self.config.id_dim if self.schema.user_rows is not None else 0
        embedded = len(self.schema.categorical) + len(self.schema.categorical_lists)
        return users + self.config.feature_dim * embedded + len(self.schema.numeric)

    def user_features(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """User, profile and context, [B, width] each, by the input that they come from, in the head's order."""
        tables = self.column_embeddings | self.list_embeddings
        features = {name: table(inputs[name]) for name, table in tables.items()}
        if self.schema.user_rows is not None:
            features[USER_INDEX] = self.user_embedding(inputs[USER_INDEX])
        for name in self.schema.numeric:
            features[name] = ops.expand_dims(ops.cast(inputs[name], self.compute_dtype), 1)
        return features

    def encode_features(self, features: Mapping[str, Tensor], rows: Tensor, training: bool = False) -> Tensor:
        """The user part of the head, [rows, H1]; the schema may have no features, and a head drops none of them."""
        if not features:
            return self.head.encode_user(ops.zeros((rows, 0), dtype=self.compute_dtype))
        return self.head.encode_user(ops.concatenate(list(features.values()), axis=-1))

    def encode_user(self, inputs: Mapping[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """The user's state.

        Args:
            inputs: see `dmf_keras.models.inputs.user_inputs`; others are ignored.
            training: whether layers of the user part behave as in training.

        Returns:
            `history_mask` bool [B, L], `user_part` [B, H1], and what the model's interest needs; of further histories
            the same but the user part, by names of `of_history`.

        Raises:
            ValueError: missing inputs, wrong ranks or dtypes.
        """
        self.check_user_inputs(inputs)
        state = self._encode_history(inputs, training)
        for name, own in self.further.items():
            found = own._encode_history(seen_by(inputs, name), training)
            state |= {of_history(key, name): value for key, value in found.items()}
        if training and self.config.user_dropout and self.schema.user_rows is not None:
            index, rows = inputs[USER_INDEX], self.schema.user_rows
            inputs = {**inputs, USER_INDEX: some_unknown(index, self.config.user_dropout, rows, self.user_draws)}
        features = self.all_features(inputs, state)
        return {**state, USER_PART: self.encode_features(features, ops.shape(state[HISTORY_MASK])[0], training)}

    def _encode_history(self, inputs: Mapping[str, Tensor], training: bool) -> dict[str, Tensor]:
        mask = ops.not_equal(inputs[HISTORY_INDEX], 0)
        return {**self.encode_interest(inputs, mask, training), HISTORY_MASK: mask}

    def all_features(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`user_features`, and those that were made of further histories."""
        features = dict(self.user_features(inputs, state))
        for name, own in self.further.items():
            found = own.user_features(seen_by(inputs, name), state_of(state, name))
            features |= {of_history(key, name): value for key, value in found.items()}
        return features

    def further_interests(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> dict[str, Tensor]:
        """The interest in each further history [B, N, width], by the name of its part."""
        found = {
            explanation.further_history(name): own.interest(
                state_of(state, name), candidates, seen_by(inputs, name), training
            )
            for name, own in self.further.items()
        }
        return {name: interest for name, interest in found.items() if interest is not None}

    def score(self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Logits of candidates.

        Args:
            state: of `encode_user`.
            inputs: see `dmf_keras.models.inputs.candidate_inputs` and `candidate_content`; others are ignored.
            training: whether units are dropped, and columns of `candidate_bias` are inputs.

        Returns:
            float32 [B, N], of several objectives [B, N, T]; at padded candidates meaningless.

        Raises:
            ValueError: missing inputs, wrong ranks or dtypes.
        """
        self.check_candidate_inputs(inputs, training)
        inputs = self.with_candidate_vectors(inputs)
        candidates = self.candidate_items(inputs)
        interest = beside(
            self.interest(state, candidates, inputs, training),
            self.further_interests(state, candidates, inputs, training),
        )
        items = self.head_items(candidates, self.own_columns(inputs))
        real = ops.not_equal(inputs[CANDIDATE_INDEX], 0)
        logits = self.apply_head(state[USER_PART], items, interest, real, training)
        if self.bias_tower is None:
            return logits
        bias = self.bias(inputs, training)
        if self.schema.objectives:
            # How an item is shown decides whether it is looked at: a matter of the first objective.
            first = ops.one_hot(0, len(self.schema.objectives), dtype="float32")
            bias = ops.expand_dims(bias, -1) * first
        return logits + bias

    def explain(self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the history's items weigh, and what each part of the head's input adds to the logit.

        Args:
            state: of `encode_user`.
            inputs: those of `call`, of user and candidates.

        Returns:
            By the names of `dmf_keras.models.explanation`: `logit`, `base_logit` and, per part, `contribution_*` and
            `without_*`, all float32 [B, N]; and what `explain_history` tells. Of several objectives the logit is that
            of the first.

        Raises:
            ValueError: missing inputs, wrong ranks or dtypes.
        """
        self.check_user_inputs(inputs)
        self.check_candidate_inputs(inputs)
        inputs = self.with_candidate_vectors(inputs)
        candidates = self.candidate_items(inputs)
        masks = [HISTORY_MASK, *(of_history(HISTORY_MASK, name) for name in self.further)]
        no_history = {**state, **{name: ops.zeros_like(state[name]) for name in masks}}
        parts = explain_parts(self, state, no_history, candidates, inputs)
        return {**self.explain_history(state, candidates, inputs), **parts}

    def explain_history(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """What there is to tell of each (candidate, history item) pair, [B, N, ..., L] by name; nothing by default."""
        return {}
