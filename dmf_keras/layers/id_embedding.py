"""An embedding of IDs whose table may be large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from dmf_keras.ops.rows import take_rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.IdEmbedding")
class IdEmbedding(keras.layers.Embedding):
    """`keras.layers.Embedding` that reads the rows it is asked for, and never its table as a whole.

        E[id],   id in [0, R)

    Keras's own reads the table and takes rows of that. With TensorFlow this makes a copy of the table in each step once
    an optimizer has updated single rows of it, so that a step would cost the more the more IDs there are. Weights,
    arguments and results are those of Keras's; an id below 0 is refused and does not count from the end.

    Args:
        input_dim: int, R.
        output_dim: int, width of the embedding.

    Examples:

    >>> from dmf_keras.layers import IdEmbedding
    >>> layer = IdEmbedding(100, 8)
    >>> tuple(layer(np.array([[5, 7, 0]])).shape)
    (1, 3, 8)

    Raises:
        ValueError: sizes that are no positive integers.
    """

    def __init__(self, input_dim: int, output_dim: int, **kwargs: Any) -> None:
        super().__init__(input_dim, output_dim, **kwargs)
        # What an optimizer that lets rows rest does to the table before rows of it are read to be trained.
        self.before_training: Callable[[keras.Variable, Tensor], None] | None = None

    def call(self, ids: Tensor, training: bool = False) -> Tensor:
        """Embeddings [..., output_dim] in the compute dtype of `ids` int [...]."""
        if training and self.before_training is not None:
            self.before_training(self.embeddings, ids)
        return ops.cast(take_rows(self.embeddings, ids), self.compute_dtype)

    def compute_output_spec(self, ids: Any, training: bool = False) -> Any:
        """Shape and dtype of `call`'s result, whose rows are not read."""
        return super().compute_output_spec(ids)
