"""The loss of retrieval, term by term from NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.models import ModalitySpec, RankingSchema, build_model
from tfx_pipeline.config.stages import Retrieval
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.catalogue_scoring import item_vectors
from tfx_pipeline.training.retrieval.recall import RecallOnEval, recall
from tfx_pipeline.training.retrieval.task import Catalogue, RetrievalTask

ITEMS = 12
INDEX = np.array([*range(1, 10), 10, 10, 10], np.int32)
POSITIVES = np.array([5, 3, 3, 1, 1, 0, 0, 4, 2, 0, 0, 1])
SCHEMA = RankingSchema(item_rows=11, content_rows=ITEMS + 1, modalities={"text": ModalitySpec(6)})


def _tower():
    tower = build_model("two_towers", {"dim": 8, "hidden_units": [7], "id_dropout": 0.0}, SCHEMA, seed=1)
    rng = np.random.default_rng(0)
    tower.content["text"].set_rows(rng.normal(size=(ITEMS + 1, 6)))
    return tower


def _requests():
    """Rows of the catalogue; 0 is an item that it lacks, index 0 padding."""
    rows = np.array([[1, 2, 3], [2, 5, 0], [0, 4, 8], [12, 0, 0]])
    index = np.where(rows > 0, INDEX[rows - 1], 10)
    index[1:, 2][[0, 2]] = 0
    history = np.array([[4, 4, 9], [0, 0, 0], [7, 0, 0], [3, 1, 2]])
    inputs = {
        "candidate_index": index,
        "candidate_content_row": rows,
        "history_index": np.where(history > 0, INDEX[history - 1], 0),
        "history_content_row": history,
    }
    labels = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]], np.float32)
    weights = np.array([[1, 1, 1], [2, 1, 0], [1, 1, 1], [1, 1, 0]], np.float32)
    return (
        {name: tf.constant(value, tf.int32) for name, value in inputs.items()},
        tf.constant(labels),
        tf.constant(weights),
    )


def _loss(settings, tower):
    task = RetrievalTask(tower, Catalogue(INDEX, POSITIVES), settings, seed=3)
    inputs, labels, weights = _requests()
    clicked = np.flatnonzero(POSITIVES) + 1
    drawn = keras.random.randint((settings.random_negatives,), 0, len(clicked), seed=keras.random.SeedGenerator(3))
    return float(task.compute_loss(inputs, labels, task(inputs), weights)), clicked[drawn.numpy()]


def _by_numpy(tower, settings, drawn):
    inputs = {name: value.numpy() for name, value in _requests()[0].items()}
    vectors, users = item_vectors(tower, INDEX), tower.user_tower(inputs).numpy()
    # Clicks on items that the catalogue lacks are none.
    clicks = [(0, 1), (0, 3), (1, 2), (3, 12)]
    weight = [1, 1, 2, 1]
    shown = [(0, 2), (1, 5), (2, 4), (2, 8)] if settings.shown_negatives else []
    columns = [(request, item) for request, item in clicks] + [(None, item) for item in drawn] + shown
    frequency = POSITIVES / POSITIVES.sum()
    total = 0.0
    for place, (request, item) in enumerate(clicks):
        logits, own = [], None
        for column, (of, other) in enumerate(columns):
            is_shown = column >= len(clicks) + len(drawn)
            if column != place and (other == item or (is_shown and of != request)):
                continue
            if column < len(clicks) and column != place and of == request:
                continue
            expected = (
                1.0 if is_shown else len(clicks) * frequency[other - 1] + len(drawn) / np.count_nonzero(POSITIVES)
            )
            logit = users[request] @ vectors[other - 1] - np.log(expected)
            if column == place:
                own = logit
            else:
                logits.append(logit)
        kept = sorted(logits)[::-1][: settings.hard_negatives]
        total += weight[place] * (np.log(np.exp([own, *kept]).sum()) - own)
    return total / sum(weight)


@pytest.mark.parametrize("settings", [
    {"random_negatives": 6},
    {"random_negatives": 0},
    {"random_negatives": 6, "shown_negatives": True},
    {"random_negatives": 6, "hard_negatives": 2},
])  # fmt: skip
def test_equals_the_definition(settings):
    tower, settings = _tower(), Retrieval(**settings)
    found, drawn = _loss(settings, tower)
    assert found == pytest.approx(_by_numpy(tower, settings, drawn), rel=1e-4)


def test_a_batch_without_clicks_is_no_loss_and_no_gradient():
    tower = _tower()
    task = RetrievalTask(tower, Catalogue(INDEX, POSITIVES), Retrieval(random_negatives=4), seed=3)
    inputs, labels, weights = _requests()
    with tf.GradientTape() as tape:
        loss = task.compute_loss(inputs, tf.zeros_like(labels), task(inputs), weights)
    assert float(loss) == 0
    for gradient in tape.gradient(loss, [variable.value for variable in tower.trainable_variables]):
        assert gradient is None or not tf.convert_to_tensor(gradient).numpy().any()


def test_learns_what_follows_what():
    """Users of one item click another: found by recall, which leaves out the history."""
    tower = _tower()
    rng = np.random.default_rng(1)
    history = rng.integers(1, 6, (256, 1))
    x = {
        "history_index": history,
        "history_content_row": history,
        "candidate_index": history + 3,
        "candidate_content_row": history + 3,
    }
    x = {name: tf.constant(value, tf.int32) for name, value in x.items()}
    ones = tf.ones((256, 1))
    before = recall(tower, INDEX, [(x, ones, ones)], 1)
    task = RetrievalTask(tower, Catalogue(INDEX, np.bincount(history[:, 0] + 2, minlength=12)), Retrieval(), seed=3)
    task.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    tower.head.bias.trainable = False
    task.fit(tf.data.Dataset.from_tensor_slices((x, ones, ones)).batch(64), epochs=12, verbose=0)
    assert before < 0.6 < 0.95 < recall(tower, INDEX, [(x, ones, ones)], 1)


def test_recall_is_of_lists_without_the_history():
    tower = _tower()
    inputs, labels, weights = _requests()
    vectors, users = item_vectors(tower, INDEX), tower.user_tower(inputs).numpy()
    for k in (1, 3, 6):
        hits = []
        for request, item in [(0, 1), (0, 3), (1, 2), (3, 12)]:
            scores = vectors @ users[request]
            left = [i for i in range(1, 13) if i == item or i not in inputs["history_content_row"].numpy()[request]]
            hits.append(sum(scores[i - 1] > scores[item - 1] for i in left) < k)
        assert recall(tower, INDEX, [(inputs, labels, weights)], k) == pytest.approx(np.mean(hits))
    assert np.isnan(recall(tower, INDEX, [(inputs, labels * 0, weights)], 3))


def test_an_eval_split_without_clicks_cannot_judge():
    inputs, labels, weights = _requests()
    callback = RecallOnEval(INDEX, [(inputs, labels * 0, weights)])
    callback.set_model(RetrievalTask(_tower(), Catalogue(INDEX, POSITIVES), Retrieval(), seed=3))
    with pytest.raises(ModelError, match="the eval split has no click on an item of the catalogue"):
        callback.on_epoch_end(0, {})
