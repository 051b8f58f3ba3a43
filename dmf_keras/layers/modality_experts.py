"""What each modality says alone, and what they all say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_counts, check_streams
from dmf_keras.layers.expert_outputs import ExpertOutputs
from dmf_keras.ops.masked import without_padding
from dmf_keras.ops.streams import flat_streams, real_streams
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.ModalityExperts")
class ModalityExperts(keras.layers.Layer):
    """Specific and shared experts over the modalities of an item, mixed by a gate.

        p_s = MLP_s(x_s),    c_s = MLP(x_s),    c = mean of c_s over the streams that are present
        y_s = g_s * p_s + (1 - g_s) * c,    g_s = sigmoid(W_s2 sigmoid(W_s1 p_s + b_s1) + b_s2)

    Each modality is a stream of vectors of one width and has an expert of its own; one more expert, the same for all,
    sees each of them. The gate has a value per column. A stream that is not present is zeros, in what it gives and to
    the mean, whatever it holds. All layers of an expert have a ReLU.

    The public code has a batch normalisation before each ReLU. When serving that is a scale and a shift, which the
    layer before can have as its weights; in training it would make candidates of other requests, and padding, matter.

    Args:
        hidden_units: hidden widths of the experts; the last width is that of the streams.
        kernel_initializer: of all matrices.

    Examples:

    >>> from dmf_keras.layers import ModalityExperts
    >>> layer = ModalityExperts(hidden_units=[16])
    >>> ids, image = np.ones((3, 5, 8), "float32"), np.ones((3, 5, 8), "float32")
    >>> outputs = layer([ids, image], [np.ones((3, 5), bool), np.zeros((3, 5), bool)])
    >>> tuple(outputs.mixed[0].shape), bool(keras.ops.any(outputs.mixed[1] != 0))
    ((3, 5, 8), False)

    References:
        Diff-MSIN, arXiv:2508.21460, by `diff_msin` of MMCTR-Bench (hdu-yzl/MMCTR-Bench).
    """

    def __init__(
        self, hidden_units: Sequence[int] = (64,), kernel_initializer: Any = "glorot_uniform", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_units = check_counts("hidden_units", hidden_units)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, streams_shape: Any, present_shape: Any = None) -> None:
        """Creates the weights."""
        self.width = streams_shape[0][-1]
        streams = range(len(streams_shape))
        self.specific_experts = [self._mlp([*self.hidden_units, self.width], "relu") for _ in streams]
        self.shared_expert = self._mlp([*self.hidden_units, self.width], "relu")
        self.gates = [self._mlp([2 * self.width, self.width], "sigmoid") for _ in streams]

    def _mlp(self, units: Sequence[int], activation: str) -> list[keras.layers.Dense]:
        layers = []
        for below, width in zip([self.width, *units[:-1]], units, strict=True):
            layer = keras.layers.Dense(
                width, activation, kernel_initializer=self.kernel_initializer.clone(), dtype=self.dtype_policy
            )
            layer.build((None, below))
            layers.append(layer)
        return layers

    def call(
        self, streams: Sequence[Tensor], present: Sequence[Tensor] | None = None, places: Sequence[int] | None = None
    ) -> ExpertOutputs:
        """What goes on of each stream.

        Args:
            streams: float [..., D], one a modality; where one is not present it may be anything.
            present: bool [...], one a modality; absent: all are there.
            places: of the streams that are asked for, so that the others' own experts need not be computed; absent:
                all.

        Returns:
            `ExpertOutputs`, in the compute dtype.

        Raises:
            ValueError: another width or number of streams than those of `build`, or a presence that is not boolean.
        """
        count = len(self.specific_experts)
        check_streams(streams, present, count, self.width)
        shape = ops.shape(streams[0])
        # In two dimensions TensorFlow makes a product of each layer, and not twenty operations.
        streams, present = flat_streams(*real_streams(streams, present, self.compute_dtype))
        shared = [
            without_padding(_apply(self.shared_expert, x), there) for x, there in zip(streams, present, strict=True)
        ]
        known = sum(ops.cast(there, self.compute_dtype) for there in present)
        shared_mean = sum(shared) / ops.expand_dims(ops.maximum(known, 1.0), -1)
        mixed, specific = [], []
        for place in range(count) if places is None else places:
            own = without_padding(_apply(self.specific_experts[place], streams[place]), present[place])
            gate = _apply(self.gates[place], own)
            mixed.append(without_padding(gate * own + (1.0 - gate) * shared_mean, present[place]))
            specific.append(own)
        mixed, specific, shared = ([ops.reshape(x, shape) for x in each] for each in (mixed, specific, shared))
        return ExpertOutputs(mixed, specific, shared, ops.reshape(shared_mean, shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "hidden_units": self.hidden_units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _apply(layers: Sequence[keras.layers.Dense], vectors: Tensor) -> Tensor:
    for layer in layers:
        vectors = layer(vectors)
    return vectors
