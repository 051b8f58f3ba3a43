"""A world in which only what a user did lately predicts the click: what ages of history events are for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dmf_keras.models.topics import ITEMS, TOPICS, auc_of_trained

LENGTH = 8
HOUR, MONTH = 3600.0, 30 * 86_400.0


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
    tables = {"item_codes": (TOPICS,), "item_statistics": ("impressions", "positives")}
    return auc_of_trained(name, world(3000, 1), world(2000, 2), epochs=8, history_age_buckets=buckets, **tables)


# The click probabilities themselves have 0.87.
# One adds ages to keys and values, the other to the item; tests/dmf_keras/models/history_ages_test.py has all models.
@pytest.mark.parametrize("name", ["dmf", "din"])
def test_ages_tell_which_events_count(name: str) -> None:
    without, with_ages = auc(name, None), auc(name, 8)
    assert with_ages > without + 0.05, (without, with_ages)
