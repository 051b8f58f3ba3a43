"""How long ago something was, as an embedding."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_count, check_kind
from dmf_keras.ops.bucketing import age_edges, bucketize
from dmf_keras.ops.rows import take_few
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.AgeEmbedding")
class AgeEmbedding(keras.layers.Layer):
    """Embeds ages by buckets that are the wider the older they are.

        E[b],   b = 1 + number of edges at or below the age,   edges 60 * 525600^(i / (K - 2)) s, i = 0, ..., K - 2

    Bucket 1 is below a minute, bucket K from a year on; each of the others is as many times as wide as the one before.
    An age that is not known, NaN, has row 0, which is trained as any other; so has padding, whose output is to be
    masked.

    Args:
        buckets: int, K, at least 3.
        dim: int, width of the embedding.
        embeddings_initializer: of E [K + 1, dim].

    Examples:

    >>> from dmf_keras.layers import AgeEmbedding
    >>> layer = AgeEmbedding(buckets=16, dim=8)
    >>> ages = np.array([[3.0, 86400.0, np.nan]], "float32")  # three seconds, a day, unknown
    >>> tuple(layer(ages).shape)
    (1, 3, 8)
    >>> keras.ops.convert_to_numpy(layer.bucket_ids(ages)).tolist()
    [[1, 9, 0]]

    Raises:
        ValueError: fewer than 3 buckets, or sizes that are no positive integers.
    """

    def __init__(
        self, buckets: int = 16, dim: int = 64, embeddings_initializer: Any = "uniform", **kwargs: Any
    ) -> None:
        # A float16 ends at 18 hours.
        super().__init__(autocast=False, **kwargs)
        self.buckets, self.dim = check_count("buckets", buckets), check_count("dim", dim)
        self._edges = age_edges(self.buckets)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

    def build(self, ages_shape: Any = None) -> None:
        """Creates the weights."""
        self.table = self.add_weight(
            name="table",
            shape=(self.buckets + 1, self.dim),
            initializer=self.embeddings_initializer.clone(),
            autocast=False,
        )

    def bucket_ids(self, ages: Tensor) -> Tensor:
        """Ids, int32 in [0, K], of ages: float [...] in seconds, NaN where not known."""
        ages = ops.cast(ages, "float32")
        unknown = ops.isnan(ages)
        known = bucketize(ops.where(unknown, 0.0, ages), ops.convert_to_tensor(self._edges)) + 1
        return ops.where(unknown, 0, known)

    def call(self, ages: Tensor) -> Tensor:
        """Embeddings [..., dim] in the compute dtype.

        Args:
            ages: float [...], seconds; NaN where not known.

        Raises:
            ValueError: ages that are no floats.
        """
        check_kind("ages", ages, "float")
        return ops.cast(take_few(self.table, self.bucket_ids(ages)), self.compute_dtype)

    def compute_output_shape(self, ages_shape: Any) -> tuple[int | None, ...]:
        """[..., dim]."""
        return (*ages_shape, self.dim)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "buckets": self.buckets,
            "dim": self.dim,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }
