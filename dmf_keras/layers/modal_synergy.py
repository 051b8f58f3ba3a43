"""What modalities say together, found in steps as a diffusion model removes noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from dmf_keras.checks import check_count, check_streams
from dmf_keras.layers.cross_modal_attention import CrossModalAttention
from dmf_keras.ops.masked import masked_softmax, without_padding
from dmf_keras.ops.streams import flat_streams, real_streams
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.ModalSynergy")
class ModalSynergy(keras.layers.Layer):
    """One vector of several modalities, which in T steps take out of each other what the others do not tell.

        n_s = sqrt(a_t) h_s + sqrt(1 - a_t) e,    o_s = CrossModalAttention_s(n_s, sum over j != s of w_js n_j)
        h_s <- (n_s - (1 - a_t) / sqrt(1 - A_t) o_s) / sqrt(a_t),    t = 1 ... T
        y = W_2 GELU(W_1 LayerNorm([h_1, ..., h_S]) + b_1) + b_2

    with A_t = cos^2(0.45 pi t / T), a_t = A_t / A_t-1 and w_js a softmax over the other streams of one trained number
    for each pair. It has the form of the reverse process of a diffusion model, whose noise is predicted by the other
    modalities; nothing trains it to be one. e is normal noise, in training alone; otherwise there is none, so that a
    score is a function of its inputs. A diffusion model's data have a variance of 1. These need not: e is times the
    root mean square of the vector that it joins, or embeddings, which start small, would drown in it (the T steps
    divide by sqrt(A_T), 0.16).

    A stream that is not present is zeros and no source of the others; where none is, so is y.

    Args:
        steps: int, T.
        heads: int, of the attention; divides the width.
        kernel_initializer: of all matrices.
        seed: int or None, of the noise.

    Examples:

    >>> from dmf_keras.layers import ModalSynergy
    >>> layer = ModalSynergy(steps=3, heads=2)
    >>> streams = [np.ones((3, 5, 8), "float32") * scale for scale in (1, 2, 3)]
    >>> tuple(layer(streams).shape)
    (3, 5, 8)

    References:
        Diff-MSIN, arXiv:2508.21460, by `diff_msin` of MMCTR-Bench (hdu-yzl/MMCTR-Bench); the update is that of DDPM,
        arXiv:2006.11239.
    """

    def __init__(
        self,
        steps: int = 5,
        heads: int = 4,
        kernel_initializer: Any = "glorot_uniform",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.steps = check_count("steps", steps)
        self.heads = check_count("heads", heads)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        bars = np.cos(np.linspace(0.0, 0.45 * np.pi, steps + 1)) ** 2
        self._kept = (bars[1:] / bars[:-1]).tolist()
        self._factor = [(1 - kept) / np.sqrt(1 - bar) for kept, bar in zip(self._kept, bars[1:], strict=True)]

    def build(self, streams_shape: Any, present_shape: Any = None) -> None:
        """Creates the weights."""
        self.width = streams_shape[0][-1]
        streams, common = len(streams_shape), {"dtype": self.dtype_policy}
        if streams < 2:
            raise ValueError(f"`streams` must be two at least. Received: {streams}")
        self.attention = [
            CrossModalAttention(self.heads, kernel_initializer=self.kernel_initializer.clone(), **common)
            for _ in range(streams)
        ]
        for layer in self.attention:
            layer.build((None, self.width), (None, self.width))
        # Of a stream with one source there is nothing to weigh.
        self.source_logits = [
            self.add_weight(name=f"source_logits_{place}", shape=(streams - 1,), initializer="zeros", dtype="float32")
            for place in range(streams if streams > 2 else 0)
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, **common)
        self.norm.build((None, streams * self.width))
        self.hidden = self._dense(streams * self.width, 2 * self.width)
        self.output_projection = self._dense(2 * self.width, self.width)

    def _dense(self, below: int, width: int) -> keras.layers.Dense:
        layer = keras.layers.Dense(width, kernel_initializer=self.kernel_initializer.clone(), dtype=self.dtype_policy)
        layer.build((None, below))
        return layer

    def noise(self, like: Tensor) -> Tensor:
        """Normal noise of the shape and dtype of `like`, with the root mean square of each of its vectors."""
        drawn = keras.random.normal(ops.shape(like), dtype="float32", seed=self.seed_generator)
        squares = ops.mean(ops.square(ops.cast(like, "float32")), axis=-1, keepdims=True)
        return ops.cast(drawn * ops.sqrt(ops.stop_gradient(squares)), like.dtype)

    def call(
        self, streams: Sequence[Tensor], present: Sequence[Tensor] | None = None, training: bool = False
    ) -> Tensor:
        """y.

        Args:
            streams: float [..., D], one a modality; where one is not present it may be anything.
            present: bool [...], one a modality; absent: all are there.
            training: whether there is noise.

        Returns:
            [..., D] in the compute dtype.

        Raises:
            ValueError: another width or number of streams than those of `build`, or a presence that is not boolean.
        """
        count = len(self.attention)
        check_streams(streams, present, count, self.width)
        shape = ops.shape(streams[0])
        # In two dimensions TensorFlow makes a product of each matrix, and not twenty operations.
        held, present = flat_streams(*real_streams(streams, present, self.compute_dtype))
        others = [[j for j in range(count) if j != s] for s in range(count)]
        weights = [self._source_weights(s, [present[j] for j in others[s]]) for s in range(count)]
        for kept, factor in zip(self._kept, self._factor, strict=True):
            noisy = [kept**0.5 * x for x in held]
            if training:
                noise = [(1 - kept) ** 0.5 * self.noise(x) for x in held]
                noisy = [without_padding(x + e, there) for x, e, there in zip(noisy, noise, present, strict=True)]
            held = [
                self._step(s, noisy[s], [noisy[j] for j in others[s]], weights[s], factor, kept**0.5)
                for s in range(count)
            ]
            held = [without_padding(x, there) for x, there in zip(held, present, strict=True)]
        joined = self.norm(ops.concatenate(held, axis=-1))
        synergy = self.output_projection(ops.gelu(self.hidden(joined), approximate=False))
        return ops.reshape(without_padding(synergy, ops.any(ops.stack(present, axis=-1), axis=-1)), shape)

    def _source_weights(self, place: int, present: Sequence[Tensor]) -> Tensor:
        """Weights [..., S - 1] of a stream's sources; zeros where none is present."""
        mask = ops.stack(present, axis=-1)
        logits = self.source_logits[place] if self.source_logits else ops.zeros((1,))
        return ops.cast(masked_softmax(logits + ops.zeros(ops.shape(mask)), mask), self.compute_dtype)

    def _step(
        self, place: int, own: Tensor, sources: Sequence[Tensor], weights: Tensor, factor: float, root: float
    ) -> Tensor:
        source = sum(weights[..., j : j + 1] * x for j, x in enumerate(sources))
        told = ops.any(weights > 0, axis=-1, keepdims=True)
        predicted = ops.where(told, self.attention[place](own, source), own)
        return (own - factor * predicted) / root

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "steps": self.steps,
            "heads": self.heads,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "seed": self.seed,
        }
