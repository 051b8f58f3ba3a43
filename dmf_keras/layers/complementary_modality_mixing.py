"""How the modality-enriched and the modality-centric interest become one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from dmf_keras.checks import check_axis, check_choice, check_fraction
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

MODES = ("fixed", "learned", "gate", "concat")


@dmf_keras_export("dmf_keras.layers.ComplementaryModalityMixing")
class ComplementaryModalityMixing(keras.layers.Layer):
    """Mixes two interests of one width.

        r_n = alpha enriched_n + (1 - alpha) centric_n

    Where neither interest depends on padding, nor does the mixture: each position is mixed alone.

    Args:
        mode: "fixed": alpha as given. "learned": one trained scalar that starts there. "gate": an alpha per candidate,
            `sigmoid(w . [enriched, centric] + b)`, that starts there. "concat": both side by side, alpha unused.
        alpha: float in [0, 1]; strictly between for "learned" and "gate", where its logit must be finite.

    Examples:

    >>> from dmf_keras.layers import ComplementaryModalityMixing
    >>> layer = ComplementaryModalityMixing(alpha=0.25)
    >>> keras.ops.convert_to_numpy(layer(np.ones((1, 1, 2)), np.zeros((1, 1, 2)))).tolist()
    [[[0.25, 0.25]]]
    >>> gate = ComplementaryModalityMixing("gate")
    >>> tuple(gate(np.ones((2, 5, 3)), np.zeros((2, 5, 3))).shape)
    (2, 5, 3)

    References:
        DMF, arXiv:2510.11066 (fixed at 0.5 in its public form; the other modes are options of this library).
    """

    def __init__(self, mode: str = "fixed", alpha: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = check_choice("mode", mode, MODES)
        self.alpha = check_fraction("alpha", alpha)
        if mode in ("learned", "gate") and alpha in (0, 1):
            raise ValueError(f'`alpha` must be strictly between 0 and 1 with mode "{mode}". Received: {alpha!r}')

    def build(self, enriched_shape: Any, centric_shape: Any) -> None:
        """Creates the weights."""
        if self.mode in ("learned", "gate"):
            start = keras.initializers.Constant(float(np.log(self.alpha / (1 - self.alpha))))
            self.bias = self.add_weight(name="bias", shape=(), initializer=start)
        if self.mode == "gate":
            # Zeros: every candidate starts at `alpha` and moves from there.
            self.kernel = self.add_weight(
                name="kernel", shape=(enriched_shape[-1] + centric_shape[-1], 1), initializer="zeros"
            )

    def call(self, enriched: Tensor, centric: Tensor) -> Tensor:
        """Mixes [..., R] and [..., R] to [..., R], or to [..., R + R'] with "concat"; in the compute dtype.

        Raises:
            ValueError: different widths.
        """
        if self.mode == "concat":
            return ops.concatenate([enriched, centric], axis=-1)
        check_axis("centric", centric, len(centric.shape) - 1, enriched.shape[-1], "the width of `enriched`")
        alpha = self.alpha
        if self.mode == "learned":
            alpha = ops.sigmoid(self.bias)
        elif self.mode == "gate":
            alpha = ops.sigmoid(ops.matmul(ops.concatenate([enriched, centric], axis=-1), self.kernel) + self.bias)
        return centric + alpha * (enriched - centric)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "mode": self.mode, "alpha": self.alpha}
