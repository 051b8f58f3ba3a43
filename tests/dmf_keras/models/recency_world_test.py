"""A world in which only what a user did lately predicts the click: what ages of history events are for."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.models import ModalitySpec, RankingSchema
from tests.dmf_keras.models.batches import small_model

TOPICS, ITEMS, LENGTH = 4, 40, 8
HOUR, MONTH = 3600.0, 30 * 86_400.0
to_numpy = keras.ops.convert_to_numpy


def world(requests: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Histories of eight items of any topic, of which two, wherever they stand, are younger than an hour.

    These two are of one topic. A candidate of that topic is clicked with probability 0.8, any other with 0.1.
    """
    rng = np.random.default_rng(seed)
    topic_of = np.arange(ITEMS + 1) % TOPICS
    history = rng.integers(1, ITEMS + 1, (requests, LENGTH))
    lately = rng.permuted(np.tile(np.arange(LENGTH) < 2, (requests, 1)), axis=1)
    topic = rng.integers(0, TOPICS, requests)
    of_topic = rng.integers(0, ITEMS // TOPICS, history.shape) * TOPICS + topic[:, None]
    history = np.where(lately, np.where(of_topic == 0, ITEMS, of_topic), history)
    ages = np.where(lately, rng.uniform(0, HOUR, history.shape), rng.uniform(MONTH, 12 * MONTH, history.shape))
    candidates = rng.integers(1, ITEMS + 1, (requests, 6))
    wanted = topic_of[candidates] == topic[:, None]
    inputs = {
        "history_index": history,
        "history_content_row": history,
        "history_age": ages.astype("float32"),
        "candidate_index": candidates,
        "candidate_content_row": candidates,
    }
    return inputs, (rng.random(wanted.shape) < np.where(wanted, 0.8, 0.1)).astype("float32")


def auc(name: str, buckets: int | None) -> float:
    """Of a trained model on requests that it has not seen."""
    schema = RankingSchema(
        item_rows=ITEMS + 1,
        content_rows=ITEMS + 1,
        modalities={"text": ModalitySpec(6)},
        history_age_buckets=buckets,
        item_codes=(TOPICS,),
        item_statistics=("impressions", "positives"),
    )
    model = small_model({"id_dim": 16, "hidden_units": [32]}, schema=schema, name=name)
    topics = np.eye(TOPICS)[np.arange(ITEMS + 1) % TOPICS]
    rng = np.random.default_rng(0)
    for layer in model.content.values():
        layer.set_rows(np.concatenate([topics, np.zeros((ITEMS + 1, 2))], 1) + 0.1 * rng.normal(size=(ITEMS + 1, 6)))
    keras.utils.set_random_seed(1)
    metric = keras.metrics.AUC(from_logits=True, name="auc", num_thresholds=1000)
    model.compile(keras.optimizers.Adam(0.01), metrics=[metric], jit_compile=False)
    model.fit(*world(3000, 1), epochs=8, batch_size=50, verbose=0)
    return float(model.evaluate(*world(2000, 2), verbose=0, return_dict=True)["auc"])


# The click probabilities themselves have 0.87.
@pytest.mark.parametrize("name", ["dmf", "target_attention", "din", "early_fusion"])
def test_ages_tell_which_events_count(name: str) -> None:
    without, with_ages = auc(name, None), auc(name, 8)
    assert with_ages > without + 0.05, (without, with_ages)
