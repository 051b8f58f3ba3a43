"""What Adam does to a row of a table in steps whose batches do not have it, in closed form."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

# Ends of the stretches within which the second moment is taken as that of their middle.
_STRETCHES = (16.0, 128.0, 1024.0)


class AdamNumbers(NamedTuple):
    """Of a step: the learning rate with the corrections of both moments, their decays, epsilon; scalars."""

    rate: tf.Tensor
    beta1: tf.Tensor
    beta2: tf.Tensor
    epsilon: tf.Tensor


class Rows(NamedTuple):
    """Weights of rows and their moments, float [R, D] each."""

    weights: tf.Tensor
    momentum: tf.Tensor
    velocity: tf.Tensor


def after_idle_steps(rows: Rows, steps: tf.Tensor, penalty: float, numbers: AdamNumbers) -> Rows:
    """Rows as k steps of Adam leave them in which the penalty's gradient 2 l2 w is all that there is.

    The weights go on by the first moment, each step by b1 / sqrt(b2) of the one before,

        w -= rate m / (sqrt(v) + epsilon) * r (1 - r^k) / (1 - r),   r = b1 / sqrt(b2)

    and shrink by the penalty, which comes into the first moment as that fades: it counts for n = k less the sum above,
    in stretches that become longer as the second moment v fades,

        w *= exp(-2 l2 rate n / (sqrt(v') + epsilon)),   v' = g^2 + (v - g^2) b2^(n / 2),   g = 2 l2 w

    A row that no batch has had yet has v = 0, and is as good as zero after some tens of steps, as by Adam itself.

    Args:
        rows: as their last step left them.
        steps: k, float [R, 1], at least 0.
        penalty: l2.
        numbers: of the present step; the learning rate is taken to have been the same in all k.
    """
    weights, momentum, velocity = rows
    decay = numbers.beta1 / tf.sqrt(numbers.beta2)
    tail = decay * (1 - tf.pow(decay, steps)) / (1 - decay)
    weights -= numbers.rate * momentum / (tf.sqrt(velocity) + numbers.epsilon) * tail
    if not penalty:
        return Rows(weights, momentum * tf.pow(numbers.beta1, steps), velocity * tf.pow(numbers.beta2, steps))
    done, waited = tf.zeros_like(steps), tail
    for end in (*_STRETCHES, None):
        ended = steps if end is None else tf.minimum(steps, end)
        gone, done = ended - done, ended
        counted = tf.maximum(gone - waited, 0)
        waited -= gone - counted
        square = tf.square(2 * penalty * weights)
        fading = tf.pow(numbers.beta2, gone / 2)
        middle = square + (velocity - square) * fading
        velocity = square + (velocity - square) * tf.square(fading)
        weights *= tf.exp(-2 * penalty * numbers.rate * counted / (tf.sqrt(middle) + numbers.epsilon))
    gradient = 2 * penalty * weights
    return Rows(weights, gradient + (momentum - gradient) * tf.pow(numbers.beta1, steps), velocity)
