"""All items of the catalogue as candidates of a model, for users that are encoded once a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from dmf_keras.models.inputs import RankingSchema, candidate_inputs
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.transform.request_transform import RequestTransform


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
    size = min(block, len(catalogue))
    padded = [*catalogue, *[""] * (-len(catalogue) % size)]
    wanted = candidate_inputs(schema)
    blocks = []
    for first in range(0, len(padded), size):
        raw = {raw_features.CANDIDATE_ITEM_ID: tf.constant([padded[first : first + size]])}
        for name, kind in transform.candidate_inputs.items():
            raw[name] = tf.fill([1, size], "" if kind == "string" else np.float32("nan"))
        blocks.append({name: value for name, value in transform.candidates(raw).items() if name in wanted})
    return blocks


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
