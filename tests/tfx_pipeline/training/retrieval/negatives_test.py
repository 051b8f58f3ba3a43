"""What retrieval scores high, as negatives of a ranker."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, CANDIDATE_INDEX, HISTORY_CONTENT_ROW, POSITIVES
from tfx_pipeline.config.schema import Training
from tfx_pipeline.evaluation.catalogue_scoring import embedding_rows, item_vectors
from tfx_pipeline.training.item_statistics import item_statistics
from tfx_pipeline.training.model_training import new_model
from tfx_pipeline.training.retrieval.negatives import RetrievedNegatives

COUNT = 3


@pytest.fixture(scope="module")
def data(tiny_data):
    return tiny_data.training_data


@pytest.fixture(scope="module")
def tower(data):
    return new_model("two_towers", {"id_dim": 8, "id_dropout": 0.0}, data, seed=1)


@pytest.fixture(scope="module")
def clicked(data):
    """Content rows of the items with a click in train."""
    found = item_statistics([POSITIVES], data.files["train"], data.tft_output, data.content)[POSITIVES]
    return np.flatnonzero(found)


@pytest.fixture(scope="module")
def batches(data):
    return data.eval_batches(16).take(4).cache()


def _added(batches, negatives):
    """By batch: inputs, labels and weights before, and with the negatives."""
    return list(zip(batches, negatives.added_to(batches), strict=True))


def _own(inputs, labels):
    """Content rows that are no negatives of each request."""
    shown = np.where(labels > 0, inputs[CANDIDATE_CONTENT_ROW], 0)
    return [{*rows, *history} for rows, history in zip(shown, inputs[HISTORY_CONTENT_ROW].numpy(), strict=True)]


def test_each_request_gets_further_candidates_without_a_click(data, tower, clicked, batches):
    negatives = RetrievedNegatives(tower, data, count=COUNT, candidates=10, seed=1)
    assert COUNT < negatives.drawn < len(clicked)
    index = embedding_rows(data.transform, list(data.content.item_ids))
    for (inputs, labels, weights), (more, new_labels, new_weights) in _added(batches, negatives):
        shown = labels.shape[1]
        for name, value in inputs.items():
            np.testing.assert_array_equal(value, more[name][:, :shown] if name.startswith("candidate_") else more[name])
            assert more[name].dtype == value.dtype
        np.testing.assert_array_equal(new_labels, np.pad(labels, [(0, 0), (0, COUNT)]))
        np.testing.assert_array_equal(new_weights, np.pad(weights, [(0, 0), (0, COUNT)], constant_values=1))
        rows = more[CANDIDATE_CONTENT_ROW][:, shown:].numpy()
        np.testing.assert_array_equal(more[CANDIDATE_INDEX][:, shown:], index[rows - 1])
        for found, own in zip(rows, _own(inputs, labels), strict=True):
            assert len(set(found)) == COUNT and not own & set(found)
            assert set(found) <= set(clicked)


def test_of_all_items_they_are_those_of_the_largest_dot_products(data, tower, clicked, batches):
    negatives = RetrievedNegatives(tower, data, count=COUNT, candidates=COUNT, seed=1)
    assert negatives.drawn == len(clicked)
    vectors = item_vectors(tower, embedding_rows(data.transform, list(data.content.item_ids)))
    for (inputs, labels, _), (more, _, _) in _added(batches, negatives):
        products = tower.user_tower(inputs).numpy() @ vectors.T
        rows = more[CANDIDATE_CONTENT_ROW][:, labels.shape[1] :].numpy()
        for own, found, excluded in zip(products, rows, _own(inputs, labels), strict=True):
            allowed = [row for row in clicked if row not in excluded]
            expected = sorted(allowed, key=lambda row, own=own: -own[row - 1])[:COUNT]
            np.testing.assert_allclose(np.sort(own[found - 1]), np.sort(own[np.array(expected) - 1]), rtol=1e-5)


def test_draws_differ_between_epochs_and_not_between_runs(data, tower, batches):
    def rows(dataset):
        return np.concatenate([inputs[CANDIDATE_CONTENT_ROW].numpy()[:, -COUNT:] for inputs, _, _ in dataset])

    one, other = (
        RetrievedNegatives(tower, data, count=COUNT, candidates=12, seed=5).added_to(batches) for _ in range(2)
    )
    first, second = rows(one), rows(one)
    assert (first != second).any()
    np.testing.assert_array_equal(first, rows(other))
    np.testing.assert_array_equal(second, rows(other))


def test_where_fewer_are_left_the_places_weigh_nothing(data, tower, clicked, batches):
    count = len(clicked) + 5
    for (inputs, labels, _), (_, _, weights) in _added(
        batches, RetrievedNegatives(tower, data, count=count, candidates=10, seed=1)
    ):
        left = [len(set(clicked) - own) for own in _own(inputs, labels)]
        np.testing.assert_array_equal(weights[:, labels.shape[1] :].numpy().sum(1), left)


def test_labels_of_several_objectives_are_all_zero(data, tower, batches):
    several = batches.map(lambda inputs, labels, weights: (inputs, tf.stack([labels, labels], -1), weights))
    negatives = RetrievedNegatives(tower, data, count=COUNT, candidates=10, seed=1)
    for (_, labels, _), (_, new_labels, _) in _added(several, negatives):
        np.testing.assert_array_equal(new_labels, np.pad(labels, [(0, 0), (0, COUNT), (0, 0)]))


def test_what_train_never_clicked_is_none_even_if_eval_did(data, tower, batches):
    """Planted: the statistics of a train split that lacks half of the files."""
    fewer = dataclasses.replace(data, files={**data.files, "train": data.files["train"][:1]})
    negatives = RetrievedNegatives(tower, fewer, count=1000, candidates=1, seed=1)
    known = item_statistics([POSITIVES], fewer.files["train"], data.tft_output, data.content)[POSITIVES]
    for (_, labels, _), (more, _, weights) in _added(batches, negatives):
        shown = labels.shape[1]
        rows = more[CANDIDATE_CONTENT_ROW].numpy()[:, shown:][weights.numpy()[:, shown:] > 0]
        assert (known[rows] > 0).all()


def test_a_ranker_learns_from_them(data, tower, tmp_path):
    from tfx_pipeline.training.model_training import train_model

    negatives = RetrievedNegatives(tower, data, count=COUNT, candidates=10, seed=1)
    seen = []

    def watched(batches):
        seen.append(batches)
        return negatives.added_to(batches)

    training = Training(batch_size=64, epochs=2)
    folders = {"state_dir": tmp_path / "state", "tensorboard_dir": str(tmp_path / "board")}
    _, result = train_model("mean_pooling", {}, training, data, **folders, with_negatives=watched)
    assert len(seen) == 1 and len(result.history) == 2
    assert result.history[1]["loss"] < result.history[0]["loss"]
