"""The same seed gives the same weights."""

from __future__ import annotations

import keras
import tensorflow as tf


def make_reproducible(seed: int) -> None:
    """Seeds Python, NumPy and TensorFlow, and asks for deterministic kernels: same seed, same weights on CPU."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
