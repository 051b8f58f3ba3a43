"""Content vectors that come with a request: from what an encoder gives to what a model takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from dmf_keras.models.inputs import candidate_content
from dmf_keras.models.ranking_model import RankingModel
from serving import contract


class ContentInputs(tf.Module):
    """Checks, and brings to the width of the model's tables, the vectors that a request carries for its candidates.

    Catalogue and request go through the same steps: unit length, projection, and no content where the projection is
    shorter than `contract.SHORTEST_PROJECTION`.

    Args:
        model: its content tables say which modalities there are, and their width.
        bases: per reduced modality the projection of its unit vectors, float32 [width of the encoder, width of the
            table]. A modality that is not named is taken as wide as its table.

    Attributes:
        widths: of the encoders, by modality.

    Raises:
        ValueError: a projection that does not fit its table.
    """

    def __init__(self, model: RankingModel, bases: Mapping[str, np.ndarray] | None = None) -> None:
        super().__init__()
        given = {modality: np.asarray(basis, np.float32) for modality, basis in (bases or {}).items()}
        self.widths: dict[str, int] = {}
        self._bases: dict[str, tf.Variable] = {}
        for modality, table in model.content.items():
            self.widths[modality] = table.dim
            if modality not in given:
                continue
            basis = given[modality]
            if basis.ndim != 2 or basis.shape[1] != table.dim:
                raise ValueError(
                    f"the projection of {modality!r} must have shape [width, {table.dim}], got {list(basis.shape)}"
                )
            self.widths[modality] = basis.shape[0]
            # A variable and not a constant: constants of megabytes make a graph slow to load.
            self._bases[modality] = tf.Variable(basis, trainable=False, name=f"{modality}_basis")

    @property
    def signature(self) -> dict[str, tf.TensorSpec]:
        """Specs of the vectors by input name; empty for a model without content."""
        names = {modality: contract.CONTENT_PREFIX + modality for modality in self.widths}
        return {
            name: tf.TensorSpec([None, None, self.widths[modality]], tf.float32, name)
            for modality, name in names.items()
        }

    def __call__(self, raw: Mapping[str, tf.Tensor], item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Model inputs, float32 [B, N, width of the table] each, of the vectors that `raw` holds.

        Args:
            raw: vectors float32 [B, N, width of the encoder] by input name; other entries are ignored, and a modality
                that is absent is one that the request does not carry.
            item_ids: of the candidates, string [B, N].

        Raises:
            tf.errors.InvalidArgumentError: when it runs: another width or number of vectors, NaN or an infinite
                value; the message names the input.
        """
        found = {}
        for modality, width in self.widths.items():
            name = contract.CONTENT_PREFIX + modality
            if name in raw:
                vectors = _unit(_checked(raw[name], item_ids, name, width))
                found[candidate_content(modality)] = self._reduced(vectors, modality)
        return found

    def _reduced(self, unit: tf.Tensor, modality: str) -> tf.Tensor:
        if modality not in self._bases:
            return unit
        projected = tf.tensordot(unit, self._bases[modality], 1)
        length = tf.norm(projected, axis=-1, keepdims=True)
        return tf.where(length > contract.SHORTEST_PROJECTION, projected, tf.zeros_like(projected))


def of_each_candidate(values: tf.Tensor, item_ids: tf.Tensor, name: str, *rest: int) -> tf.Tensor:
    """The values [B, N, *rest], once it has been looked at whether there are as many as candidates."""
    return _of_each(values, item_ids, name, rest, "N", contract.CANDIDATE_ITEM_ID)


def of_each_history_item(values: tf.Tensor, item_ids: tf.Tensor, name: str, history: str) -> tf.Tensor:
    """The values [B, L], once it has been looked at whether there are as many as items of the `history`, its name."""
    return _of_each(values, item_ids, name, (), "L", history)


def _of_each(
    values: tf.Tensor, item_ids: tf.Tensor, name: str, rest: tuple[int, ...], axis: str, items: str
) -> tf.Tensor:
    """The values, once their shape has been looked at.

    The server feeds what it is sent, whatever shape the signature declares: another width would be broadcast, or fail
    somewhere inside without a name. The shapes are written as strings, such as "1, 20, 384", and the strings are
    compared: numbers would be compared with the declared shape when the graph is optimised, before there are any
    values, and always be found equal.
    """
    shape, wanted = (
        tf.strings.reduce_join(tf.strings.as_string(dimensions), separator=", ")
        for dimensions in (tf.shape(values), tf.concat([tf.shape(item_ids), rest], 0) if rest else tf.shape(item_ids))
    )
    expected = ", ".join(["B", axis, *map(str, rest)])
    message = f"{name} must have shape [{expected}], B and {axis} those of {items}; expected, got:"
    fits = tf.debugging.Assert(shape == wanted, [message, wanted, shape])
    with tf.control_dependencies([fits] if fits is not None else []):
        return tf.identity(values)


def _checked(vectors: tf.Tensor, item_ids: tf.Tensor, name: str, width: int) -> tf.Tensor:
    """The vectors, once their shape and values have been looked at."""
    return tf.debugging.check_numerics(of_each_candidate(vectors, item_ids, name, width), f"{name} must be finite")


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    # By the largest component first: squares of very long or very short vectors leave float32's range.
    vectors = tf.math.divide_no_nan(vectors, tf.reduce_max(tf.abs(vectors), axis=-1, keepdims=True))
    return tf.math.divide_no_nan(vectors, tf.norm(vectors, axis=-1, keepdims=True))
