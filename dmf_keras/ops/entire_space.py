"""Probabilities of conditional events over all impressions, in log space."""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from dmf_keras.types import Tensor


def joint_logits(logits: Tensor, parents: Sequence[int | None]) -> Tensor:
    """Logits of each event together with the events that it is conditional on.

        p_t = sigmoid(z_t) p_parent(t),    joint_t = log p_t - log(1 - p_t)
        log(1 - p_t) = log((1 - p_parent) + p_parent sigmoid(-z_t))

    A cross-entropy from joint logits is that of the product, which makes a conditional probability learn from all
    samples and not from those alone in which its condition held. No difference of nearby numbers is taken, so that
    gradients are finite wherever the logits are.

    Args:
        logits: float [..., T].
        parents: of each event the place of the one that it is given, before it; None: of no other.

    Returns:
        float32 [..., T]; that of an event without a parent is its own logit.

    References:
        Entire Space Multi-Task Model (ESMM), arXiv:1804.07931.
    """
    logits = ops.cast(logits, "float32")
    joint: list[Tensor] = []
    happens: list[Tensor] = []
    fails: list[Tensor] = []
    for place, parent in enumerate(parents):
        own = logits[..., place]
        yes, no = ops.log_sigmoid(own), ops.log_sigmoid(-own)
        if parent is not None:
            yes, no = happens[parent] + yes, ops.logaddexp(fails[parent], happens[parent] + no)
            own = yes - no
        joint.append(own)
        happens.append(yes)
        fails.append(no)
    return ops.stack(joint, axis=-1)
