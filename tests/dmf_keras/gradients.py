"""Gradients on whichever backend Keras runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import tree


def gradients(function: Callable[..., Any], inputs: dict[str, Any], jit_compile: bool = False) -> dict[str, Any]:
    """Gradients of the scalar `function(**inputs)` with respect to every input, as NumPy arrays.

    Args:
        function: of float arrays, in lists and dicts as they are in `inputs`; what is not trained belongs in its body.
        inputs: float arrays by argument name.
        jit_compile: whether XLA compiles the function and its gradients as one; always on JAX, never on PyTorch.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def run(inputs: dict[str, Any]) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                loss = function(**inputs)
            # As tensors: a look-up's gradient is otherwise a list of slices.
            return tree.map_structure(
                tf.convert_to_tensor, tape.gradient(loss, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            )

        compiled = tf.function(run, jit_compile=jit_compile)
    elif keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(jax.grad(lambda inputs: function(**inputs)))
    else:
        import torch

        def compiled(inputs: dict[str, Any]) -> Any:
            leaves = [tensor.requires_grad_() for tensor in tree.flatten(inputs)]
            found = torch.autograd.grad(function(**inputs), leaves, allow_unused=True, materialize_grads=True)
            return tree.pack_sequence_as(inputs, list(found))

    results = compiled(tree.map_structure(keras.ops.convert_to_tensor, inputs))
    return tree.map_structure(lambda tensor: np.asarray(keras.ops.convert_to_numpy(tensor)), results)
