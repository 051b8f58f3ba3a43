"""From content vectors to the bucket of each (candidate, history item) pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from dmf_keras.checks import check_axis, check_count, check_kind, check_rank
from dmf_keras.ops.bucketing import bucketize, equal_width_buckets, equal_width_edges, quantile_edges
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.SimilarityBuckets")
class SimilarityBuckets(keras.layers.Layer):
    """Bucket ids of the cosine similarity between candidates and history items.

        s_nj = m_n . m_j / (|m_n| |m_j|),    b_nj = |{edge : edge <= s_nj}|

    Continuous content never mixes with the ID space; only this relation does. Ids are 0 to `buckets` - 1 in rising
    similarity, and `buckets` where either side has no content. Buckets are closed on the left; see `dmf_keras.ops`.
    Similarities that rounding has put beyond -1 or 1 are taken as -1 or 1. Cosines are computed in float32 under every
    dtype policy: bucket edges do not forgive rounding. No gradient passes.

    Several modalities take a layer each, as their similarities spread differently and so do their edges; the layers
    that read the ids (`DecoupledTargetAttention`) have a table per modality, and `SimilarityHistogram` is called once
    per modality.

    Args:
        buckets: int, the number of buckets S, without the missing bucket.
        edges: "equal" for S equal-width buckets of [-1, 1]; S - 1 ascending inner edges; or "quantile" for edges that
            `adapt` takes from data before use. The last two are kept in a non-trainable weight, saved with the model.
        normalize: bool, false where all present vectors have length 1 already.

    Examples:

    >>> from dmf_keras.layers import SimilarityBuckets
    >>> layer = SimilarityBuckets(buckets=4)
    >>> candidates, history = np.array([[[1.0, 0.0]]]), np.array([[[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]])
    >>> keras.ops.convert_to_numpy(layer(candidates, history)).tolist()
    [[[3, 2, 0]]]
    >>> has_content = np.array([[True, True, False]])
    >>> keras.ops.convert_to_numpy(layer(candidates, history, history_present=has_content)).tolist()
    [[[3, 2, 4]]]

    Edges from data, half of the pairs in each bucket:

    >>> layer = SimilarityBuckets(buckets=2, edges="quantile")
    >>> layer.adapt(np.array([-0.2, 0.5, 0.6, 0.9]))
    >>> np.round(keras.ops.convert_to_numpy(layer.edge_values).astype(float), 3).tolist()
    [0.55]

    References:
        DMF, arXiv:2510.11066. SimTier, arXiv:2407.19467.
    """

    def __init__(
        self, buckets: int = 35, edges: str | Sequence[float] = "equal", normalize: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.buckets = check_count("buckets", buckets)
        if not isinstance(edges, str):
            edges = [float(edge) for edge in edges]
            _check_edges(np.asarray(edges), self.buckets)
        elif edges not in ("equal", "quantile"):
            raise ValueError(f'`edges` must be "equal", "quantile" or a list of inner edges. Received: {edges!r}')
        self.edges = edges
        self.normalize = normalize
        self.edge_values: Any = None

    def build(self, candidates_shape: Any, history_shape: Any = None) -> None:
        """Creates the weights."""
        if self.edges != "equal":
            # Infinity marks edges that are yet to be adapted; it travels with the weight, so no flag is needed.
            initial = np.full(self.buckets - 1, np.inf) if self.edges == "quantile" else np.asarray(self.edges)
            self.edge_values = self.add_weight(
                name="edge_values",
                shape=(self.buckets - 1,),
                dtype="float32",
                initializer=lambda shape, dtype: ops.convert_to_tensor(initial, dtype),
                trainable=False,
                autocast=False,
            )

    @property
    def adapted(self) -> bool:
        """False while "quantile" edges have not been set from data."""
        if self.edges != "quantile":
            return True
        return self.edge_values is not None and bool(np.isfinite(ops.convert_to_numpy(self.edge_values)).all())

    def adapt(self, similarities: np.ndarray) -> None:
        """Sets the edges so that `similarities`, cosines of real pairs, fall evenly into the buckets.

        Raises:
            ValueError: the layer was made with "equal" edges, or the samples are none or not finite.
        """
        if self.edges == "equal":
            raise ValueError('only a layer with edges="quantile" or given edges can be adapted. Received: "equal"')
        edges = quantile_edges(similarities, self.buckets)
        if self.edge_values is None:
            self.build(None)
        self.edge_values.assign(edges)

    def similarities(self, candidates: Tensor, history: Tensor) -> Tensor:
        """Cosines float32 [B, N, L] of candidates [B, N, D] and history [B, L, D]."""
        candidates, history = ops.cast(candidates, "float32"), ops.cast(history, "float32")
        if self.normalize:
            candidates, history = ops.normalize(candidates), ops.normalize(history)
        return ops.matmul(candidates, ops.swapaxes(history, 1, 2))

    def call(
        self,
        candidates: Tensor,
        history: Tensor,
        candidates_present: Tensor | None = None,
        history_present: Tensor | None = None,
    ) -> Tensor:
        """Buckets of all pairs.

        Args:
            candidates: float [B, N, D] content vectors.
            history: float [B, L, D] content vectors.
            candidates_present: bool [B, N], false where there is no content; absent: all have some.
            history_present: bool [B, L], the same of the history.

        Returns:
            int32 [B, N, L], ids in [0, S].

        Raises:
            ValueError: wrong rank, different widths, or a presence mask that is not boolean or of another length.
        """
        check_rank("candidates", candidates, "batch candidates width")
        check_rank("history", history, "batch history width")
        check_axis("history", history, 2, candidates.shape[2], "the width of `candidates`")
        return self.bucket(self.similarities(candidates, history), candidates_present, history_present)

    def bucket(
        self, similarities: Tensor, candidates_present: Tensor | None = None, history_present: Tensor | None = None
    ) -> Tensor:
        """Buckets of `similarities` [B, N, L], for who has them already.

        Args:
            similarities: float32 [B, N, L], of the method of that name.
            candidates_present: bool [B, N], false where there is no content; absent: all have some.
            history_present: bool [B, L], the same of the history.

        Returns:
            int32 [B, N, L], ids in [0, S].

        Raises:
            ValueError: wrong rank, or a presence mask that is not boolean or of another length.
        """
        check_rank("similarities", similarities, "batch candidates history")
        if self.edge_values is None:
            ids = equal_width_buckets(similarities, self.buckets)
        else:
            # An edge at exactly -1 must not separate opposite vectors by how their cosine was rounded.
            ids = bucketize(ops.clip(similarities, -1.0, 1.0), ops.convert_to_tensor(self.edge_values))
        missing = []
        for name, present, axis in (
            ("candidates_present", candidates_present, 1),
            ("history_present", history_present, 2),
        ):
            if present is not None:
                check_rank(name, present, "batch items")
                check_kind(name, present, "bool")
                check_axis(name, present, 1, similarities.shape[axis], "the vectors")
                missing.append(ops.expand_dims(ops.where(present, 0.0, float(self.buckets)), 3 - axis))
        if not missing:
            return ids
        # The missing bucket has the largest id. A broadcast sum of floats, casts included, takes half the time of a
        # maximum, of a choice, and of a sum of integers.
        summed = ops.cast(ids, "float32")
        for each in missing:
            summed = summed + each
        return ops.cast(ops.minimum(summed, float(self.buckets)), "int32")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "buckets": self.buckets, "edges": self.edges, "normalize": self.normalize}


def _check_edges(edges: np.ndarray, buckets: int) -> None:
    if edges.shape != (buckets - 1,) or not np.isfinite(edges).all() or (np.diff(edges) < 0).any():
        raise ValueError(
            f"`edges` must be {buckets - 1} finite ascending inner edges for {buckets} buckets, such as "
            f"{equal_width_edges(buckets)[:3].tolist()}... Received: {edges.tolist()}"
        )
