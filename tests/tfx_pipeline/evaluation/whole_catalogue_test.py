"""The whole catalogue ranked block by block, against a ranking by hand of all items at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from dmf_keras.metrics.ranking_by_request import ranking_by_request
from dmf_keras.models.registry import parameters
from tests.tfx_pipeline.conftest import ITEMS
from tfx_pipeline.config.content import Codes
from tfx_pipeline.data.content.codes import fit_codes
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation import requests, whole_catalogue
from tfx_pipeline.evaluation.items_had import items_had
from tfx_pipeline.evaluation.whole_catalogue import CatalogueRanks, rank_catalogue
from tfx_pipeline.training.model_training import new_model

AT_K = [1, 5, 10]
# Those that train has: what a model cannot tell apart ties but for rounding, and not in every batch alike.
TRAINED = ITEMS[:30]
PARAMS = {"id_dim": 8, "hidden_units": [8]}


def _read(files):
    """Requests as plain values, by hand."""
    found = []
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        found.append(
            {
                "record": record,
                "user": feature[raw_features.USER_ID].bytes_list.value[0],
                "time": feature[raw_features.REQUEST_TIME].int64_list.value[0],
                "history": [item.decode() for item in feature[raw_features.HISTORY_ITEM_ID].bytes_list.value],
                "candidates": [item.decode() for item in feature[raw_features.CANDIDATE_ITEM_ID].bytes_list.value],
                "labels": list(feature[raw_features.LABEL].int64_list.value),
            }
        )
    return found


def _by_hand(model, data, catalogue):
    """(requests, labels, scores) of all that is ranked: all requests at once, each with all items as candidates."""
    transform = data.training_data.transform
    earlier = [request for split in ("train", "eval") for request in _read(data.examples[split])]
    judged = _read(data.examples["test"])
    inputs = transform.examples(tf.constant([request["record"] for request in judged]))
    inputs |= transform.candidates({raw_features.CANDIDATE_ITEM_ID: tf.constant([list(catalogue)] * len(judged))})
    scores = model.probabilities(model(inputs)).numpy()
    rows = []
    for number, request in enumerate(judged):
        positives = {i for i, y in zip(request["candidates"], request["labels"], strict=True) if y} & set(catalogue)
        if not positives:
            continue
        had = {
            item
            for other in earlier
            if other["user"] == request["user"] and other["time"] <= request["time"]
            for item in other["history"]
        }
        rows += [
            (number, item in positives, score)
            for item, score in zip(catalogue, scores[number], strict=True)
            if item in positives or item not in had
        ]
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def _ranks(model, data, catalogue, **patched) -> CatalogueRanks:
    had = items_had(list(data.examples.values()), data.examples["test"], catalogue)
    return rank_catalogue(model, data.training_data.transform, catalogue, data.examples["test"], had, **patched)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks that do not divide the catalogue, batches that do not divide the requests, a few requests at a time."""
    monkeypatch.setattr(whole_catalogue, "_BLOCK", 7)
    monkeypatch.setattr(whole_catalogue, "_BATCH", 3)
    monkeypatch.setattr(requests, "_HELD", 16)


# It asks a model for the state of users and for scores by it, which tests/dmf_keras/models/every_model_test.py has of
# all: here without attention, with it, by codes of items, and by two towers.
@pytest.mark.parametrize("name", ["mean_pooling", "dmf", "sid_coord", "two_towers"])
def test_it_is_the_ranking_of_all_items_by_hand(tiny_data, small_blocks, name):
    params = {key: value for key, value in PARAMS.items() if key in parameters(name)}
    data = tiny_data.training_data
    text = data.content.modalities["text"]
    codes = fit_codes(text.vectors, text.present, Codes(levels=2, size=4, of="text"))
    data = dataclasses.replace(data, content=dataclasses.replace(data.content, codes=codes))
    model = new_model(name, params, data, seed=3)
    ranks = _ranks(model, tiny_data, TRAINED)
    ranking = ranking_by_request(*_by_hand(model, tiny_data, TRAINED))
    np.testing.assert_array_equal(ranks.request_positives.sum(), ranking.positives.sum())
    expected = {f"hr@{k}": ranking.hit_rate(k).mean() for k in AT_K}
    expected |= {f"ndcg@{k}": ranking.ndcg(k).mean() for k in AT_K}
    expected["mrr"] = ranking.reciprocal_rank().mean()
    assert ranks.metrics(AT_K) == pytest.approx(expected, abs=1e-9)
    assert np.sort(ranks.ranked).tolist() == np.sort(ranking.auc.size).tolist()


def test_equal_scores_have_no_order_and_what_ran_before_is_left_out(tiny_data, small_blocks):
    """Of a model that scores all alike, the metrics are those of chance among the items that are left."""
    model = new_model("mean_pooling", PARAMS, tiny_data.training_data, seed=3)
    for weight in model.trainable_weights:
        weight.assign(np.zeros(weight.shape))
    ranks = _ranks(model, tiny_data, ITEMS)
    of_request, labels, scores = _by_hand(model, tiny_data, ITEMS)
    assert (scores == 0.5).all() and (ranks.above == 0).all()
    ranking = ranking_by_request(of_request, labels, scores)
    assert ranks.metrics(AT_K)["hr@5"] == pytest.approx(ranking.hit_rate(5).mean(), abs=1e-12)
    assert ranks.metrics(AT_K)["mrr"] == pytest.approx(ranking.reciprocal_rank().mean(), abs=1e-12)
    assert len(ITEMS) > ranks.ranked.max() >= ranks.ranked.min() > 0


def test_items_that_the_catalogue_lacks_are_left_out_and_counted(tiny_data, small_blocks):
    model = new_model("mean_pooling", PARAMS, tiny_data.training_data, seed=3)
    known = ITEMS[:20]
    ranks = _ranks(model, tiny_data, known)
    judged = _read(tiny_data.examples["test"])
    positives = [
        [item for item, label in zip(one["candidates"], one["labels"], strict=True) if label] for one in judged
    ]
    assert ranks.unknown_positives == sum(item not in known for own in positives for item in own) > 0
    assert ranks.without_positive == sum(not set(own) & set(known) for own in positives) > 0
    assert len(ranks.ranked) + ranks.without_positive == len(judged)
    assert (ranks.ranked <= 20).all()
    with pytest.raises(DataError, match="no request of the split has a positive in the catalogue"):
        _ranks(model, tiny_data, ["another"])


def test_a_score_that_is_no_number_has_no_rank(tiny_data, small_blocks):
    model = new_model("mean_pooling", PARAMS, tiny_data.training_data, seed=3)
    model.trainable_weights[-1].assign(np.full(model.trainable_weights[-1].shape, np.nan))
    assert np.isnan(_ranks(model, tiny_data, ITEMS).metrics([5])["hr@5"])


def test_what_is_saved_is_read_back(tiny_data, small_blocks, tmp_path):
    told = []
    model = new_model("mean_pooling", PARAMS, tiny_data.training_data, seed=3)
    ranks = _ranks(model, tiny_data, ITEMS, watch=lambda *place: told.append(place))
    ranks.save(tmp_path / "catalogue.npz")
    read = CatalogueRanks.load(tmp_path / "catalogue.npz")
    assert read.metrics(AT_K) == ranks.metrics(AT_K)
    assert (read.items, read.without_positive) == (len(ITEMS), ranks.without_positive)
    assert told[-1] == (100, 100) and len(told) > 5


def test_what_later_requests_hold_is_ranked(tiny_data):
    """An item that the user had only after the request is a candidate of it."""
    had = items_had(list(tiny_data.examples.values()), tiny_data.examples["test"], ITEMS)
    everything = [request for split in ("train", "eval") for request in _read(tiny_data.examples[split])]
    for request in _read(tiny_data.examples["test"])[:20]:
        wanted = {
            item
            for other in everything
            if other["user"] == request["user"] and other["time"] <= request["time"]
            for item in other["history"]
        }
        user = pd.util.hash_array(np.array([request["user"]], object))[0]
        assert {ITEMS[row] for row in had.before(user, request["time"])} == wanted
