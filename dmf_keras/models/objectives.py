"""How a model of several objectives is trained: one loss of all of them, and metrics of each.

Losses and metrics of such a model receive joint logits and labels [B * N, T], see `dmf_keras.ops.entire_space`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from dmf_keras.types import Tensor


@keras.saving.register_keras_serializable(package="dmf_keras")
class ObjectivesLoss(keras.losses.Loss):
    """The weighted sum of the binary cross-entropies of T objectives, from logits [samples, T].

    Args:
        objective_weights: one for each objective.
        reduction, name, kwargs: as in Keras.
    """

    def __init__(
        self,
        objective_weights: Sequence[float],
        reduction: str = "mean_with_sample_weight",
        name: str = "objectives",
        **kwargs: Any,
    ) -> None:
        super().__init__(reduction=reduction, name=name, **kwargs)
        self.objective_weights = [float(weight) for weight in objective_weights]

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Losses float32 [samples] of labels and logits [samples, T]."""
        losses = ops.binary_crossentropy(ops.cast(y_true, y_pred.dtype), y_pred, from_logits=True)
        return ops.sum(losses * ops.cast(self.objective_weights, y_pred.dtype), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "objective_weights": self.objective_weights}


@keras.saving.register_keras_serializable(package="dmf_keras")
class ObjectiveAUC(keras.metrics.AUC):
    """AUC of one of T objectives, from labels and logits [samples, T].

    Args:
        objective: its place.
        num_thresholds, name, kwargs: as in Keras.
    """

    def __init__(self, objective: int, num_thresholds: int = 1000, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(num_thresholds=num_thresholds, name=name, **{**kwargs, "from_logits": True})
        self.objective = objective

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Any:
        """Takes the samples of a batch in."""
        column = slice(self.objective, self.objective + 1)
        return super().update_state(y_true[:, column], y_pred[:, column], sample_weight)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "objective": self.objective}
