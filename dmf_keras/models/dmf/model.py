"""Decoupled Multimodal Fusion, its form in the paper and the paper's two halves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from dmf_keras.layers import ComplementaryModalityMixing, DecoupledTargetAttention, SimilarityHistogram
from dmf_keras.models.dmf import DMFCentricConfig, DMFConfig, DMFEnrichedConfig, DMFPaperConfig
from dmf_keras.models.explanation import attention_outputs
from dmf_keras.models.inputs import HISTORY_CONTENT_ROW, HISTORY_INDEX
from dmf_keras.models.interest_model import HISTORY_MASK
from dmf_keras.models.model_config import ModelConfig
from dmf_keras.models.similarity_model import SimilarityModel, history_present, history_vectors
from dmf_keras.models.target_attention.model import KEYS, VALUES
from dmf_keras.ops import masked_mean
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.models.DMFPaper")
class DMFPaper(SimilarityModel):
    """Ranks candidates by two interests that know the content and one head: the paper's form.

    1. Target-aware feature: the similarity bucket of each (candidate, history item) pair, per modality; one bucketing
       serves both branches.
    2. Modality-enriched interest o_n: decoupled target attention over IDs with buckets as side information.
    3. Modality-centric interest c_n: the histograms of the buckets, modalities side by side.
    4. r_n mixes MLP_e(o_n) and MLP_c(c_n).
    5. Head: an MLP on user, profile and context (user part), e_n (item part) and r_n (pair part).

    With `mixing="fixed"`, alpha 1 and 0 leave the other branch out of the model, weights, state and time included.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("dmf_paper", {"alpha": 0.5}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'history_present_text', 'history_vectors_text', 'keys', 'user_part', 'values']

    References:
        DMF, arXiv:2510.11066.
    """

    config_class: ClassVar[type[ModelConfig]] = DMFPaperConfig
    config: DMFPaperConfig

    def build_interest(self) -> int:
        """See the base class."""
        config, modalities = self.config, list(self.schema.modalities)
        width = config.interest_dim
        if "enriched" in config.branches:
            self.attention = self.build_attention()
            self.enriched_branch = self._branch("enriched_branch", config.attention_dim)
        if "centric" in config.branches:
            self.histogram = SimilarityHistogram(
                config.buckets, config.histogram, name="histogram", dtype=self.dtype_policy
            )
            self.histogram.build((None, None, None))
            self.centric_branch = self._branch("centric_branch", len(modalities) * (config.buckets + 1))
        if len(config.branches) > 1:
            self.mixing = ComplementaryModalityMixing(
                config.mixing, config.alpha, name="mixing", dtype=self.dtype_policy
            )
            self.mixing.build((None, None, width), (None, None, width))
            if config.mixing == "concat":
                width *= 2
        return width

    def build_attention(self) -> keras.layers.Layer:
        """The layer of the enriched branch, built."""
        config = self.config
        layer = DecoupledTargetAttention(
            config.attention_dim,
            config.heads,
            config.buckets,
            list(self.schema.modalities),
            dropout=config.attention_dropout,
            name="attention",
            dtype=self.dtype_policy,
        )
        items = (None, None, config.id_dim)
        layer.build(items, items)
        self.build_ages(keys=config.attention_dim, values=config.attention_dim)
        return layer

    def _branch(self, name: str, width: int) -> keras.Sequential:
        layers = [keras.layers.Dense(units, "relu", dtype=self.dense_policy) for units in self.config.branch_hidden]
        layers.append(keras.layers.Dense(self.config.interest_dim, dtype=self.dense_policy))
        branch = keras.Sequential(layers, name=name)
        branch.build((None, width))
        return branch

    def encode_history(self, history: Tensor, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the enriched branch needs of the history: its embeddings [B, L, d], and its items' ages if any."""
        keys, values = self.attention.encode_history(history)
        return {KEYS: self.add_ages(KEYS, keys, inputs), VALUES: self.add_ages(VALUES, values, inputs)}

    def attend(
        self,
        state: Mapping[str, Tensor],
        candidates: Tensor,
        bucket_ids: list[Tensor],
        training: bool,
        return_weights: bool = False,
        pair_mask: Tensor | None = None,
    ) -> Any:
        """o_n [B, N, a] of candidates with embeddings [B, N, d]; `return_weights`: also the weights [B, H, N, L].

        `pair_mask` bool [B, N, L] is false for pairs that have no weight.
        """
        keys, values, mask = state[KEYS], state[VALUES], state[HISTORY_MASK]
        return self.attention.attend(candidates, keys, values, bucket_ids, mask, return_weights, training, pair_mask)

    def encode_interest(self, inputs: Mapping[str, Tensor], history_mask: Tensor, training: bool) -> dict[str, Tensor]:
        """The content of the history and, with the enriched branch, its `keys` and `values`."""
        state = super().encode_interest(inputs, history_mask, training)
        if "enriched" in self.config.branches:
            state |= self.encode_history(self.seen_items(inputs, training), inputs)
        return state

    def interest(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> Tensor:
        """r_n [B, N, R] of the branches that the configuration has."""
        return self.join_interest(self.interest_parts(state, candidates, inputs, training))

    def interest_parts(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor], training: bool
    ) -> dict[str, Tensor]:
        """What comes out of the branches: `enriched` and `centric`, [B, N, interest_dim], as the configuration has."""
        cosines, ids = map(list, zip(*self.compared(state, inputs), strict=True))
        interests = {}
        if "enriched" in self.config.branches:
            kept = self.attended_pairs(state, inputs, cosines)
            attended = self.attend(state, candidates, ids, training, pair_mask=kept)
            interests["enriched"] = _by_row(self.enriched_branch, attended)
        if "centric" in self.config.branches:
            counts = [self.histogram(bucket_ids, state[HISTORY_MASK]) for bucket_ids in ids]
            interests["centric"] = _by_row(self.centric_branch, ops.concatenate(counts, axis=-1))
        return interests

    def join_interest(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The branches mixed, or the one that there is."""
        interests = list(parts.values())
        return self.mixing(*interests) if len(interests) > 1 else interests[0]

    def explain_history(
        self, state: Mapping[str, Tensor], candidates: Tensor, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Similarities and, with the enriched branch, its attention weights."""
        told = super().explain_history(state, candidates, inputs)
        if "enriched" in self.config.branches:
            cosines, ids = map(list, zip(*self.compared(state, inputs), strict=True))
            kept = self.attended_pairs(state, inputs, cosines)
            _, weights = self.attend(state, candidates, ids, training=False, return_weights=True, pair_mask=kept)
            told |= attention_outputs(weights)
        return told


def _by_row(branch: keras.Sequential, interest: Tensor) -> Tensor:
    """`branch` of [B, N, ...]; in two dimensions TensorFlow adds bias and activation inside the product."""
    batch, candidates, width = ops.shape(interest)
    out = branch(ops.reshape(interest, (-1, width)))
    return ops.reshape(out, (batch, candidates, out.shape[-1]))


@dmf_keras_export("dmf_keras.models.DMF")
class DMF(DMFPaper):
    """`DMFPaper`, whose items and users know content itself and not only how similar it is.

    A bucket of a cosine says how much two items resemble each other and never in what, so the paper's head cannot learn
    that a topic is popular, or that a user of one topic likes another. With `content_in`

        e_n = E[n] + sum_m P_m v_n^m  of candidates and history items: "items"
        user part += W_m mean_j v_hj^m, the mean over the history items that have content: "user"

    v^m being the frozen unit vector of modality m, zero where an item has none. Both are parts of the user's state or
    of the item's vector, so that nothing is added per pair: keys and values are still computed once per user.

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=1000, content_rows=1200, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("dmf", {"alpha": 0.5}, schema, seed=1)
    >>> model.content["text"].set_rows(np.random.default_rng(0).normal(size=(1200, 8)))
    >>> user = {"history_index": np.array([[5, 7, 0]]), "history_content_row": np.array([[5, 7, 0]])}
    >>> state = model.encode_user(user)  # once per user
    >>> candidates = {"candidate_index": np.array([[3, 4]]), "candidate_content_row": np.array([[3, 4]])}
    >>> tuple(model.score(state, candidates).shape)  # logits, one per candidate
    (1, 2)
    >>> model.compile("adam", metrics=[keras.metrics.AUC(from_logits=True, name="auc")])  # and fit

    References:
        DMF, arXiv:2510.11066; content in items and user is this library's.
    """

    config_class = DMFConfig
    config: DMFConfig

    def build_items(self) -> None:
        """See the base class."""
        if "items" in self.config.content_in:
            self.item_content = keras.layers.Dense(
                self.config.id_dim, use_bias=False, dtype=self.dtype_policy, name="item_content"
            )
            self.item_content.build((None, None, self._content_width()))

    def _content_width(self) -> int:
        return sum(spec.width for spec in self.schema.modalities.values())

    def candidate_items(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See the base class; content that the request carries is the candidate's content here too."""
        items = super().candidate_items(inputs)
        if "items" not in self.config.content_in:
            return items
        return self._with_content(items, [self.candidate_vectors(inputs, name)[0] for name in self.content])

    def history_items(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See the base class."""
        items = super().history_items(inputs)
        if "items" not in self.config.content_in:
            return items
        return self._with_content(items, [table(inputs[HISTORY_CONTENT_ROW])[0] for table in self.content.values()])

    def _with_content(self, items: Tensor, vectors: list[Tensor]) -> Tensor:
        return items + ops.cast(self.item_content(ops.concatenate(vectors, axis=-1)), items.dtype)

    def user_width(self) -> int:
        """See the base class."""
        return super().user_width() + (self._content_width() if "user" in self.config.content_in else 0)

    def user_features(self, inputs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of the base class, and the mean content of the history."""
        features = super().user_features(inputs, state)
        if "user" in self.config.content_in:
            real = ops.not_equal(inputs[HISTORY_INDEX], 0)
            means = [
                masked_mean(state[history_vectors(name)], ops.logical_and(real, state[history_present(name)]), axis=1)
                for name in self.content
            ]
            features[HISTORY_INDEX] = ops.cast(ops.concatenate(means, axis=-1), self.compute_dtype)
        return features


@dmf_keras_export("dmf_keras.models.DMFEnriched")
class DMFEnriched(DMFPaper):
    """DMF without its modality-centric branch: r_n = MLP_e(o_n).

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("dmf_enriched", {}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'history_present_text', 'history_vectors_text', 'keys', 'user_part', 'values']
    """

    config_class = DMFEnrichedConfig


@dmf_keras_export("dmf_keras.models.DMFCentric")
class DMFCentric(DMFPaper):
    """DMF without its modality-enriched branch: r_n = MLP_c(c_n).

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters.

    Examples:

    >>> from dmf_keras.models import ModalitySpec, RankingSchema, build_model
    >>> schema = RankingSchema(item_rows=100, content_rows=100, modalities={"text": ModalitySpec(8)})
    >>> model = build_model("dmf_centric", {}, schema, seed=1)
    >>> rows = np.array([[5, 7, 0]])  # a history of two and padding
    >>> sorted(model.encode_user({"history_index": rows, "history_content_row": rows}))
    ['history_mask', 'history_present_text', 'history_vectors_text', 'user_part']
    """

    config_class = DMFCentricConfig
