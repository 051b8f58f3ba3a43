"""Parts of a model's signatures as graphs of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

Tensors = Mapping[str, tf.Tensor]
Specs = Mapping[str, tf.TensorSpec]


class Graph:
    """A function that is traced once, and that others call: a SavedModel holds what it does once for all of them.

    Args:
        function: of as many groups of tensors by name as there are in `inputs`; gives tensors by name.
        inputs: what it takes, by name.

    Attributes:
        outputs: what it gives, by name.
    """

    def __init__(self, function: Callable[..., Tensors], *inputs: Specs) -> None:
        self._inputs = inputs
        traced = tf.function(
            lambda *groups: dict(function(*groups)), input_signature=[dict(group) for group in inputs], autograph=False
        )
        self._traced = traced.get_concrete_function()
        self.outputs: dict[str, tf.TensorSpec] = {
            name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
            for name, tensor in self._traced.structured_outputs.items()
        }

    def __call__(self, *groups: Tensors) -> dict[str, tf.Tensor]:
        """What it gives for these tensors; those that it does not take are left out."""
        taken = [{name: group[name] for name in specs} for group, specs in zip(groups, self._inputs, strict=True)]
        outputs: dict[str, tf.Tensor] = self._traced(*taken)
        return outputs
