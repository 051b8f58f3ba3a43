"""InfoNCE: how well vectors find their partners among others."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_kind
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

# Of exp(log_scale): beyond them a softmax over cosines is flat, or a maximum.
_SCALES = (0.1, 100.0)
_NEVER = -1e9


@dmf_keras_export("dmf_keras.layers.InfoNCE")
class InfoNCE(keras.layers.Layer):
    """The loss of finding each anchor's positive among negatives, with a learned temperature.

        s(x) = anchor . x / tau + b log q(x) - log q(x)
        loss = -s(positive) + log(exp s(positive) + sum over allowed negatives exp s(negative))

    tau is learned within 0.01 and 10. The last term corrects for how items came to be negatives: what is popular is in
    a batch more often, and without the correction it would be pushed away for that alone. What is popular is also
    clicked more often, whatever the anchor; b, which is learned from 1, says so, and vectors need not: they are left
    with what anchor and item have to do with each other. A negative that is not allowed, such as another item that the
    anchor's user clicked, does not count, and an anchor without negatives has a loss of 0. The loss is computed in
    float32 under every dtype policy.

    Args:
        temperature: float, tau at the start, from 0.01 to 10.

    Examples:

    >>> from dmf_keras.layers import InfoNCE
    >>> one, other = np.eye(2, dtype="float32")
    >>> anchors, positives, negatives = one[None], one[None], other[None]
    >>> loss = InfoNCE(temperature=1.0)(anchors, positives, negatives, np.ones((1, 1), bool))
    >>> round(float(loss[0]), 4)
    0.3133

    Raises:
        ValueError: a temperature outside its range.

    References:
        CPC, arXiv:1807.03748; CLIP, arXiv:2103.00020 (the learned temperature and its bounds); Sampling-bias-corrected
        neural modeling, RecSys 2019 (log q, without b).
    """

    def __init__(self, temperature: float = 0.07, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if not 1 / _SCALES[1] <= temperature <= 1 / _SCALES[0]:
            raise ValueError(f"`temperature` must be from 0.01 to 10. Received: {temperature!r}")
        self.temperature = float(temperature)

    def build(self, *_: Any, **__: Any) -> None:
        """Creates the logarithm of 1 / tau, and b."""
        start = keras.initializers.Constant(-math.log(self.temperature))
        self.log_scale = self.add_weight(shape=(), initializer=start, name="log_scale", dtype="float32")
        self.prior = self.add_weight(shape=(), initializer="ones", name="prior", dtype="float32")

    def scale(self) -> Tensor:
        """1 / tau, float32."""
        return ops.clip(ops.exp(ops.cast(self.log_scale, "float32")), *_SCALES)

    def call(
        self,
        anchors: Tensor,
        positives: Tensor,
        negatives: Tensor,
        allowed: Tensor,
        positive_log_q: Tensor | None = None,
        negative_log_q: Tensor | None = None,
    ) -> Tensor:
        """The loss of each anchor.

        Args:
            anchors: float [B, D], of length 1.
            positives: float [B, D], of length 1.
            negatives: float [N, D], the same for all anchors, or [B, N, D], of length 1.
            allowed: bool [B, N], whether it is a negative of the anchor; another may be anything that is finite.
            positive_log_q: float [B], log of how often it is drawn; None: no correction.
            negative_log_q: float [N] or [B, N], likewise.

        Returns:
            float32 [B].

        Raises:
            ValueError: vectors of different widths, or `allowed` that is not boolean.
        """
        check_kind("allowed", allowed, "bool")
        check_axis("positives", positives, -1, anchors.shape[-1], "the vectors of `anchors`")
        check_axis("negatives", negatives, -1, anchors.shape[-1], "the vectors of `anchors`")
        anchors, positives, negatives = (ops.cast(each, "float32") for each in (anchors, positives, negatives))
        scale = self.scale()
        found = ops.sum(anchors * positives, axis=-1) * scale
        if len(negatives.shape) == 2:
            others = ops.matmul(anchors, ops.transpose(negatives)) * scale
        else:
            others = ops.squeeze(ops.matmul(negatives, ops.expand_dims(anchors, -1)), -1) * scale
        correction = 1 - ops.cast(self.prior, "float32")
        if positive_log_q is not None:
            found = found - correction * ops.cast(positive_log_q, "float32")
        if negative_log_q is not None:
            others = others - correction * ops.cast(negative_log_q, "float32")
        others = ops.where(allowed, others, _NEVER)
        return ops.logsumexp(ops.concatenate([ops.expand_dims(found, -1), others], axis=-1), axis=-1) - found

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "temperature": self.temperature}
