"""All items of the catalogue as candidates of a model, for users that are encoded once a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, CANDIDATE_INDEX, RankingSchema, candidate_inputs
from dmf_keras.models.ranking_model import RankingModel
from serving.export.retrieval import UserTower
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.transform.request_transform import RequestTransform

# Items whose rows are looked up, or whose vectors are made, at a time.
_BLOCK = 4096


class ItemTower(Protocol):
    """A model whose items have vectors of their own, such as `dmf_keras.models.TwoTowers`."""

    def item_tower(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """float32 [B, N, D] of the inputs of candidates."""
        ...


def catalogue_blocks(
    schema: RankingSchema, transform: RequestTransform, catalogue: Sequence[str], block: int
) -> list[dict[str, tf.Tensor]]:
    """Model inputs of all items, [1, block] each; the last block is filled up with padding, to have the same shape.

    Columns of candidates are missing values.

    Args:
        schema: of the model.
        transform: item ids to its inputs.
        catalogue: ids of all items.
        block: items at a time; of a smaller catalogue all.
    """
    wanted = candidate_inputs(schema)
    return [
        {name: value for name, value in inputs.items() if name in wanted}
        for inputs in _looked_up(transform, catalogue, block)
    ]


def _looked_up(transform: RequestTransform, catalogue: Sequence[str], block: int) -> Iterator[Mapping[str, tf.Tensor]]:
    """All model inputs of the blocks, whatever a model reads of them."""
    size = min(block, len(catalogue))
    padded = [*catalogue, *[""] * (-len(catalogue) % size)]
    for first in range(0, len(padded), size):
        raw = {raw_features.CANDIDATE_ITEM_ID: tf.constant([padded[first : first + size]])}
        for name, kind in transform.candidate_inputs.items():
            raw[name] = tf.fill([1, size], "" if kind == "string" else np.float32("nan"))
        yield transform.candidates(raw)


def embedding_rows(transform: RequestTransform, catalogue: Sequence[str]) -> np.ndarray:
    """Rows of the item embedding int32 [I] of all items; those that are new to it are out of vocabulary."""
    rows = [inputs[CANDIDATE_INDEX].numpy()[0] for inputs in _looked_up(transform, catalogue, _BLOCK)]
    return np.concatenate(rows)[: len(catalogue)].astype(np.int32)


def item_vectors(tower: ItemTower, index: np.ndarray) -> np.ndarray:
    """Vectors float32 [I, D] of the catalogue's items, by content row less 1.

    Args:
        tower: of items that have no columns of candidates.
        index: of `embedding_rows`.
    """
    encode = tf.function(tower.item_tower, autograph=False, reduce_retracing=True)
    blocks = []
    for first in range(0, len(index), _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, len(index)), dtype=np.int32)
        inputs = {CANDIDATE_INDEX: tf.constant(index[rows][None]), CANDIDATE_CONTENT_ROW: tf.constant(rows[None] + 1)}
        blocks.append(encode(inputs).numpy()[0])
    return np.concatenate(blocks)


def user_vectors(tower: UserTower, transform: RequestTransform) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from serialised raw examples [B] to the users' vectors float32 [B, D]."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(serialized: tf.Tensor) -> tf.Tensor:
        return tower.user_tower(transform.examples(serialized))

    encoder: Callable[[tf.Tensor], tf.Tensor] = encode
    return encoder


def user_encoder(model: RankingModel, transform: RequestTransform) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A function from serialised raw examples [B] to the users' states."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(model.encode_user(transform.examples(serialized)))

    encoder: Callable[[tf.Tensor], dict[str, tf.Tensor]] = encode
    return encoder


def first_probabilities(
    model: RankingModel, state: Mapping[str, tf.Tensor], inputs: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """Probabilities [B, N] of candidates for users' states; of several objectives those of the first."""
    found = model.probabilities(model.score(state, inputs))
    return found[..., 0] if model.schema.objectives else found
