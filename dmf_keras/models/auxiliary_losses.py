"""What a model may add to its training loss: terms by name, made of what it noted in the same step."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
from keras import ops

from dmf_keras.types import Tensor


class Noted(dict[str, Tensor]):
    """What a model noted in one step of training, by name."""

    def __missing__(self, name: str) -> Tensor:
        raise KeyError(
            f"nothing was noted as '{name}' in this step, but {', '.join(sorted(self)) or 'nothing'}: call "
            f"self.note({name}=...) in `encode_user` or `score` where `training` is true"
        )


@dataclass(frozen=True)
class AuxiliaryLoss:
    """A term of the training loss beside that of the labels.

    Attributes:
        weight: what it is multiplied by in the loss; with 0 there is no such term.
        value: makes the term, a float scalar, of one batch. It is given what the model noted in `call`, the inputs,
            the labels float32 [B, N] or, of several objectives, [B, N, T], and the weights of the candidates float32
            [B, N]. Padded candidates have label 0 and weight 0, weighted batches or not.
    """

    weight: float
    value: Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor, Tensor], Tensor]

    def __post_init__(self) -> None:
        if not isinstance(self.weight, int | float) or not 0 <= self.weight < math.inf:
            raise ValueError(
                f"the weight of an auxiliary loss must be finite and not below 0. Received: {self.weight!r}"
            )


def mean_of_candidates(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of `values` [B, N], float32; 0 where nothing weighs anything. Where weights are 0 values may
    be NaN.

    Args:
        values: float [B, N].
        weights: float32 [B, N], not below 0.
    """
    values = ops.where(weights > 0, ops.cast(values, "float32"), 0.0)
    total = ops.sum(weights)
    return ops.sum(values * weights) / ops.where(total > 0, total, 1.0)


class AuxiliaryTerms:
    """The terms of one compiled model, their means over an epoch, and what is noted for them in a step.

    Notes are the thread's own: replicas of a distributed step run in one thread each and take turns amid a call.

    Args:
        losses: by name; those of weight 0 are left out.
    """

    def __init__(self, losses: Mapping[str, AuxiliaryLoss]) -> None:
        self.losses = {name: loss for name, loss in losses.items() if loss.weight}
        # Not float16 under a mixed policy: they are means over an epoch.
        self.means = {name: keras.metrics.Mean(name=f"loss/{name}", dtype="float32") for name in self.losses}
        self._of_thread = threading.local()

    def forget(self) -> None:
        """Begins a step."""
        self._of_thread.noted = Noted()

    def note(self, tensors: Mapping[str, Tensor]) -> None:
        """Keeps tensors for the losses of this step, if there are any."""
        if self.losses:
            self._noted().update(tensors)

    def _noted(self) -> Noted:
        if not hasattr(self._of_thread, "noted"):
            self.forget()
        return self._of_thread.noted  # type: ignore[no-any-return]

    def values(self, inputs: Mapping[str, Tensor], labels: Tensor, weights: Tensor, count: Tensor) -> list[Tensor]:
        """The terms times their weights; ends the step, and adds to the means.

        Args:
            inputs, labels, weights: see `AuxiliaryLoss.value`.
            count: requests of the batch, by which it counts in the means, as in that of Keras's `loss`.

        Raises:
            ValueError: a term that is not a scalar.
        """
        noted = self._noted()
        self.forget()
        weighted = []
        for name, loss in self.losses.items():
            term = ops.cast(loss.value(noted, inputs, labels, weights), "float32")
            if len(term.shape):
                raise ValueError(f"auxiliary loss '{name}' must be a scalar. Received: shape {tuple(term.shape)}")
            self.means[name].update_state(term, sample_weight=count)
            weighted.append(loss.weight * term)
        return weighted
