"""Hyper-parameters that models share, with one default, so that a comparison compares what differs between models.

Free of Keras: checking a configuration must be instant.
"""

from __future__ import annotations

from dataclasses import dataclass

from dmf_keras.models.model_config import ModelConfig, choice_problem, count_problem, counts_problem, number_problem


@dataclass(frozen=True)
class EmbeddingConfig(ModelConfig):
    """What every model has, whatever its head.

    Args:
        id_dim: width d of item and user embeddings.
        feature_dim: width of the embedding of a categorical profile or context column.
        dropout: of the head's hidden layers, from 0 to 0.95.
        embedding_l2: L2 penalty on the item and user embeddings; a non-zero one makes their updates dense, unless the
            pipeline trains with `training.row_updates`.
        user_dropout: share of the requests that training shows as of an unknown user, from 0 to 0.95: so the model
            learns what to make of a new one. Unknown users must have one row (`features.user_id.oov_buckets: 1`).
            Where users have no embedding there is nothing to do.
    """

    later = frozenset({"user_dropout"})

    id_dim: int = 32
    feature_dim: int = 16
    dropout: float = 0.0
    embedding_l2: float = 0.0
    user_dropout: float = 0.0

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*count_problem("id_dim", self.id_dim), *count_problem("feature_dim", self.feature_dim)]
        found += number_problem("dropout", self.dropout, 0, 0.95)
        found += number_problem("user_dropout", self.user_dropout, 0, 0.95)
        return found + number_problem("embedding_l2", self.embedding_l2, 0, float("inf"))


@dataclass(frozen=True)
class InterestConfig(EmbeddingConfig):
    """What models have whose head is `dmf_keras.layers.InterestHead`.

    Args:
        hidden_units: hidden widths of the head; (1024, 512, 256) in DMF's paper.
        experts: of the head's last hidden layer, of which each objective has its own mixture (MMoE); 0: one dense
            layer for all objectives.
    """

    later = EmbeddingConfig.later | {"experts"}

    hidden_units: tuple[int, ...] = (256, 128)
    experts: int = 0

    def problems(self) -> list[str]:
        """See the base class."""
        found = counts_problem("hidden_units", self.hidden_units, least_length=1)
        found += count_problem("experts", self.experts, least=0)
        if not found and self.experts and len(self.hidden_units) < 2:
            found.append(f"experts need two hidden_units at least, got {list(self.hidden_units)!r}")
        return [*super().problems(), *found]


@dataclass(frozen=True)
class JoinedConfig(EmbeddingConfig):
    """What models have to which an item is its ID and its content side by side.

    Args:
        content_dim: width to which the content vectors of each modality are projected; where a model can do without, 0
            leaves them out.
    """

    needs_content = True

    content_dim: int = 32

    def problems(self) -> list[str]:
        """See the base class."""
        return [*super().problems(), *count_problem("content_dim", self.content_dim, least=int(self.needs_content))]


@dataclass(frozen=True)
class SimilarityConfig(InterestConfig):
    """What models have that compare the content of candidate and history.

    Args:
        buckets: similarity buckets S of each modality, without the missing bucket.
        bucket_edges: "equal" width, or "quantile": taken from data by `model.adapt` before training.
    """

    needs_content = True

    buckets: int = 35
    bucket_edges: str = "equal"

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems(), *count_problem("buckets", self.buckets)]
        return found + choice_problem("bucket_edges", self.bucket_edges, ("equal", "quantile"))


@dataclass(frozen=True)
class SimilarAttentionConfig(SimilarityConfig):
    """What models have that compare content and attend to the history.

    Args:
        history_top_k: attend to that many history items alone, those most similar in content to the candidate, and to
            those that are as similar as the last of them; null: to all. Similarity histograms count all of them.
    """

    later = SimilarityConfig.later | {"history_top_k"}

    history_top_k: int | None = None

    def problems(self) -> list[str]:
        """See the base class."""
        wanted = [] if self.history_top_k is None else count_problem("history_top_k", self.history_top_k)
        return [*super().problems(), *wanted]


@dataclass(frozen=True)
class HistogramConfig(SimilarityConfig):
    """What models have that count history items by similarity.

    Args:
        histogram: scaling of the counts: "raw", "log1p" or "l1".
    """

    histogram: str = "log1p"

    def problems(self) -> list[str]:
        """See the base class."""
        return [*super().problems(), *choice_problem("histogram", self.histogram, ("raw", "log1p", "l1"))]
