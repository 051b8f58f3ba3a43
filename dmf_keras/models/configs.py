"""Hyper-parameters of the registry's models. Free of Keras: checking a configuration must be instant.

What models share has one default, so that a comparison of models compares what differs between them.
"""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.model_config import ModelConfig, choice_problem, count_problem, counts_problem, number_problem

_BRANCHES = ("enriched", "centric")


@dataclass(frozen=True)
class InterestConfig(ModelConfig):
    """What every model has: embeddings and a head.

    Args:
        id_dim: width d of item and user embeddings.
        feature_dim: width of the embedding of a categorical profile or context column.
        hidden_units: hidden widths of the head; (1024, 512, 256) in DMF's paper.
        dropout: of the head's hidden layers, from 0 to 0.95.
        embedding_l2: L2 penalty on the item and user embeddings; a non-zero one makes their updates dense.
    """

    id_dim: int = 32
    feature_dim: int = 16
    hidden_units: tuple[int, ...] = (256, 128)
    dropout: float = 0.0
    embedding_l2: float = 0.0

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*count_problem("id_dim", self.id_dim), *count_problem("feature_dim", self.feature_dim)]
        found += counts_problem("hidden_units", self.hidden_units, least_length=1)
        found += number_problem("dropout", self.dropout, 0, 0.95)
        return found + number_problem("embedding_l2", self.embedding_l2, 0, float("inf"))


@dataclass(frozen=True)
class MeanPoolingConfig(InterestConfig):
    """Hyper-parameters of `dmf_keras.models.MeanPooling`: those that every model has."""


@dataclass(frozen=True)
class DINConfig(InterestConfig):
    """Hyper-parameters of `dmf_keras.models.DIN`; the activation unit's are the paper's.

    Args:
        activation_units: hidden widths of the local activation unit.
        activation: of the local activation unit: "dice", or a Keras activation by name.
    """

    activation_units: tuple[int, ...] = (80, 40)
    activation: str = "dice"

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems(), *counts_problem("activation_units", self.activation_units, least_length=1)]
        return found + choice_problem("activation", self.activation, ("dice", "relu", "sigmoid", "tanh", "silu"))


@dataclass(frozen=True)
class TargetAttentionConfig(InterestConfig):
    """Hyper-parameters of `dmf_keras.models.IDTargetAttention`.

    Args:
        attention_dim: width a of query, key and value, all heads together.
        heads: attention heads; divides `attention_dim`.
        attention_dropout: of the attention weights, from 0 to 0.95.
    """

    attention_dim: int = 64
    heads: int = 1
    attention_dropout: float = 0.0

    def problems(self) -> list[str]:
        """See the base class."""
        counts = [*count_problem("attention_dim", self.attention_dim), *count_problem("heads", self.heads)]
        if not counts and self.attention_dim % self.heads:
            counts = [f"attention_dim must be a multiple of heads ({self.heads}), got {self.attention_dim}"]
        return [*super().problems(), *counts, *number_problem("attention_dropout", self.attention_dropout, 0, 0.95)]


@dataclass(frozen=True)
class SimilarityConfig(InterestConfig):
    """What models have that compare the content of candidate and history.

    Args:
        buckets: similarity buckets S of each modality, without the missing bucket.
        bucket_edges: "equal" width, or "quantile": taken from data by `model.adapt` before training.
    """

    buckets: int = 35
    bucket_edges: str = "equal"

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems(), *count_problem("buckets", self.buckets)]
        return found + choice_problem("bucket_edges", self.bucket_edges, ("equal", "quantile"))


@dataclass(frozen=True)
class _HistogramConfig(SimilarityConfig):
    """What models have that count history items by similarity.

    Args:
        histogram: scaling of the counts: "raw", "log1p" or "l1".
    """

    histogram: str = "log1p"

    def problems(self) -> list[str]:
        """See the base class."""
        return [*super().problems(), *choice_problem("histogram", self.histogram, ("raw", "log1p", "l1"))]


@dataclass(frozen=True)
class SimTierConfig(TargetAttentionConfig, _HistogramConfig):
    """Hyper-parameters of `dmf_keras.models.SimTier`: those of target attention and of the histogram."""


@dataclass(frozen=True)
class _BranchConfig(SimilarityConfig):
    """What DMF and its ablations share.

    Args:
        interest_dim: width of the interest r_n.
        branch_hidden: hidden widths of the MLP of each branch.
    """

    interest_dim: int = 64
    branch_hidden: tuple[int, ...] = (64,)

    @property
    def branches(self) -> tuple[str, ...]:
        """Which of "enriched" and "centric" the model has."""
        return _BRANCHES

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems(), *count_problem("interest_dim", self.interest_dim)]
        return found + counts_problem("branch_hidden", self.branch_hidden)


@dataclass(frozen=True)
class DMFEnrichedConfig(TargetAttentionConfig, _BranchConfig):
    """Hyper-parameters of `dmf_keras.models.DMFEnriched`: DMF's without the histogram and the mixing."""

    @property
    def branches(self) -> tuple[str, ...]:
        """The enriched one."""
        return ("enriched",)


@dataclass(frozen=True)
class DMFCentricConfig(_HistogramConfig, _BranchConfig):
    """Hyper-parameters of `dmf_keras.models.DMFCentric`: DMF's without the attention and the mixing."""

    @property
    def branches(self) -> tuple[str, ...]:
        """The centric one."""
        return ("centric",)


@dataclass(frozen=True)
class DMFConfig(TargetAttentionConfig, _HistogramConfig, _BranchConfig):
    """Hyper-parameters of `dmf_keras.models.DMF`; defaults follow the paper where it gives one, at a smaller head.

    Args:
        mixing: "fixed", "learned", "gate" or "concat"; see `ComplementaryModalityMixing`.
        alpha: weight of the enriched interest. With "fixed" mixing, 1 leaves the centric branch out and 0 the enriched.
    """

    mixing: str = "fixed"
    alpha: float = 0.5

    @property
    def branches(self) -> tuple[str, ...]:
        """Those that have a weight."""
        if self.mixing != "fixed" or 0 < self.alpha < 1:
            return _BRANCHES
        return ("enriched",) if self.alpha else ("centric",)

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems(), *choice_problem("mixing", self.mixing, ("fixed", "learned", "gate", "concat"))]
        alpha = number_problem("alpha", self.alpha, 0, 1)
        if not alpha and self.mixing in ("learned", "gate") and self.alpha in (0, 1):
            alpha = [f"alpha must be strictly between 0 and 1 with {self.mixing} mixing, got {self.alpha!r}"]
        return found + alpha


@dataclass(frozen=True)
class EarlyFusionConfig(DMFConfig):
    """Hyper-parameters of `dmf_keras.models.EarlyFusion`: DMF's, and the width of what is fused.

    Args:
        similarity_dim: width of the embedding of a similarity bucket; at `attention_dim` it can say what DMF's can.
    """

    similarity_dim: int = 64

    def problems(self) -> list[str]:
        """See the base class."""
        return [*super().problems(), *count_problem("similarity_dim", self.similarity_dim)]
