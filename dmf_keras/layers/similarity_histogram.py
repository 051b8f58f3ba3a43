"""How a candidate's history spreads over similarity buckets."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_choice, check_count, check_kind, check_rank
from dmf_keras.ops.bucketing import sum_by_bucket
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

SCALINGS = ("raw", "log1p", "l1")


@dmf_keras_export("dmf_keras.layers.SimilarityHistogram")
class SimilarityHistogram(keras.layers.Layer):
    """Counts of history items per similarity bucket, the missing bucket included.

        c_n[b] = |{j : b_nj = b}|

    It is all that the modality-centric interest knows of a candidate: how many items of the history are how similar to
    it. An empty history has zeros. No weights; called once per modality.

    Args:
        buckets: int, S; ids are 0 to S, where S is the missing bucket.
        scaling: "raw" counts, "log1p" of the counts, or "l1": shares that sum to 1 (or to 0 for an empty history).

    Examples:

    >>> from dmf_keras.layers import SimilarityHistogram
    >>> layer = SimilarityHistogram(buckets=2, scaling="raw")
    >>> ids, mask = np.array([[[0, 1, 1, 2, 0]]]), np.array([[True, True, True, True, False]])
    >>> keras.ops.convert_to_numpy(layer(ids, mask)).tolist()
    [[[1.0, 2.0, 1.0]]]

    References:
        SimTier, arXiv:2407.19467. DMF, arXiv:2510.11066 (the modality-centric interest).
    """

    def __init__(self, buckets: int = 35, scaling: str = "log1p", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.buckets = check_count("buckets", buckets)
        self.scaling = check_choice("scaling", scaling, SCALINGS)

    def call(self, ids: Tensor, history_mask: Tensor) -> Tensor:
        """Histograms of all candidates.

        Args:
            ids: int32 [B, N, L], ids in [0, S].
            history_mask: bool [B, L], false for padding, which is not counted.

        Returns:
            [B, N, S + 1] in the compute dtype; counted in float32.

        Raises:
            ValueError: wrong rank or dtype, or a mask of another length than the ids.
        """
        check_rank("ids", ids, "batch candidates history")
        check_kind("ids", ids, "int")
        check_rank("history_mask", history_mask, "batch history")
        check_kind("history_mask", history_mask, "bool")
        check_axis("history_mask", history_mask, 1, ids.shape[2], "the history of `ids`")
        counted = ops.broadcast_to(ops.expand_dims(ops.cast(history_mask, "float32"), 1), ops.shape(ids))
        counts = sum_by_bucket(counted, ops.cast(ids, "int32"), self.buckets + 1)
        if self.scaling == "log1p":
            counts = ops.log1p(counts)
        elif self.scaling == "l1":
            counts = counts / ops.maximum(ops.sum(counts, axis=-1, keepdims=True), 1.0)
        return ops.cast(counts, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "buckets": self.buckets, "scaling": self.scaling}
