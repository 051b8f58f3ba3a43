"""Retrievers, two towers and a ranker on the tiny world."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, HISTORY_CONTENT_ROW
from tests.tfx_pipeline.conftest import ITEMS
from tests.tfx_pipeline.evaluation.retrieval.conftest import Request
from tfx_pipeline.config.stages import Approximate
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.evaluation import catalogue_scoring
from tfx_pipeline.evaluation import requests as requests_of
from tfx_pipeline.evaluation.items_had import items_had
from tfx_pipeline.evaluation.requests import places, read_requests
from tfx_pipeline.evaluation.retrieval import cascade, evaluate
from tfx_pipeline.evaluation.retrieval.cascade import Cascade, Ranker, ranked
from tfx_pipeline.evaluation.retrieval.evaluate import evaluate_retrievers
from tfx_pipeline.evaluation.retrieval.popularity import Popularity
from tfx_pipeline.evaluation.retrieval.ranks import metric_names, values
from tfx_pipeline.evaluation.retrieval.retriever import NOTHING, ExactRetriever, Retrieved
from tfx_pipeline.evaluation.retrieval.tower_retriever import ApproximateTowerRetriever, TowerRetriever
from tfx_pipeline.evaluation.retrieval.train_items import read_train_items
from tfx_pipeline.evaluation.whole_catalogue import rank_catalogue
from tfx_pipeline.training.model_training import new_model

HEAD = np.zeros(len(ITEMS), bool)


class SmallTowers:
    """Vectors by content row; a user's is the sum of those of the history."""

    def __init__(self, schema):
        self.schema = schema
        rng = np.random.default_rng(2)
        table = rng.normal(size=(schema.content_rows, 4)).astype(np.float32)
        # Padding, and items outside the catalogue.
        table[0] = 0
        self.table = tf.constant(table)

    def user_tower(self, inputs):
        return tf.reduce_sum(tf.gather(self.table, inputs[HISTORY_CONTENT_ROW]), axis=1)

    def item_tower(self, inputs):
        return tf.gather(self.table, inputs[CANDIDATE_CONTENT_ROW])


class AsRanked(ExactRetriever):
    """Retrieves by the ranker's own probabilities."""

    def __init__(self, ranker):
        super().__init__(len(ITEMS))
        self._ranker = ranker

    def scores(self, requests):
        return self._ranker.probabilities(requests, np.tile(np.arange(self.items, dtype=np.int32), (len(requests), 1)))


@pytest.fixture
def small_parts(monkeypatch):
    """Blocks that do not divide the catalogue, batches that do not divide the requests."""
    monkeypatch.setattr(requests_of, "_HELD", 32)
    monkeypatch.setattr(evaluate, "_BATCH", 7)
    monkeypatch.setattr(catalogue_scoring, "_BLOCK", 9)
    monkeypatch.setattr(cascade, "_BLOCK", 9)
    monkeypatch.setattr(cascade, "_PAIRS", 100)


def _had(data):
    return items_had(list(data.examples.values()), data.examples["test"], ITEMS)


def test_two_towers_retrieve_by_the_dot_product(tiny_data, small_parts):
    training_data, files = tiny_data.training_data, tiny_data.examples["test"]
    towers = SmallTowers(new_model("mean_pooling", {}, training_data, seed=1).schema)
    retriever = TowerRetriever(towers, training_data.transform, ITEMS)
    held = next(iter(read_requests(files, places(ITEMS))))
    found = retriever.retrieve(held, [np.array([3], int)] * len(held), 6)
    ends = np.cumsum(held.history_lengths)
    table = towers.table.numpy()[1:]
    for place, end in enumerate(ends):
        # The transform keeps the most recent four.
        history = held.history[end - held.history_lengths[place] : end][-4:]
        scores = table @ table[history[history >= 0]].sum(axis=0)
        scores[3] = -np.inf
        expected = np.argsort(-scores, kind="stable")[:6]
        if len(history):
            assert found.rows[place].tolist() == expected.tolist()
        np.testing.assert_allclose(found.scores[place], scores[expected], rtol=1e-4, atol=1e-5)


def test_two_towers_by_an_index_retrieve_what_an_exact_search_does(tiny_data):
    training_data, files = tiny_data.training_data, tiny_data.examples["test"]
    towers = SmallTowers(new_model("mean_pooling", {}, training_data, seed=1).schema)
    exact = TowerRetriever(towers, training_data.transform, ITEMS)
    by_index = ApproximateTowerRetriever(towers, training_data.transform, ITEMS, Approximate())
    held = next(iter(read_requests(files, places(ITEMS))))
    left_out = [np.arange(place % len(ITEMS), dtype=int) for place in range(len(held))]
    one, other = (retriever.retrieve(held, left_out, len(ITEMS)) for retriever in (exact, by_index))
    # A user without a history has products of 0 alone.
    known = held.history_lengths > 0
    # Item by item, as products that tie but for rounding may change places; in falling order they are alike too.
    of_items = []
    for found in (one, other):
        there = found.rows != NOTHING
        of_items.append(np.full((len(held), len(ITEMS)), np.nan))
        of_items[-1][np.nonzero(there)[0], found.rows[there]] = found.scores[there]
    np.testing.assert_allclose(of_items[1][known], of_items[0][known], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(other.scores, one.scores, rtol=1e-4, atol=1e-4)
    assert (other.rows == NOTHING).sum() == (one.rows == NOTHING).sum() > 0


def test_a_cascade_over_everything_is_the_ranking_of_the_whole_catalogue(tiny_data, small_parts):
    model = new_model("target_attention", {"id_dim": 8, "hidden_units": [8]}, tiny_data.training_data, seed=3)
    transform, files, had = tiny_data.training_data.transform, tiny_data.examples["test"], _had(tiny_data)
    # Those that train has: what a model cannot tell apart ties but for rounding.
    catalogue, at_k = ITEMS[:30], [1, 5, 10]
    had = items_had(list(tiny_data.examples.values()), files, catalogue)
    train = read_train_items(tiny_data.examples["train"], catalogue)
    ranker = Ranker(model, transform, catalogue)
    told = []
    found = evaluate_retrievers(
        {"popularity": Popularity(train)},
        files,
        catalogue,
        had,
        30,
        HEAD[:30],
        ranker,
        {"popularity": [Cascade(5), Cascade(30)]},
        lambda *place: told.append(place),
    )
    whole = rank_catalogue(model, transform, catalogue, files, had)
    expected = whole.metrics(at_k)
    rows = values(found.judged, found.cascades["popularity"][Cascade(30)].rank, at_k)
    means = dict(zip(metric_names(at_k), rows.mean(axis=1), strict=True))
    for name in ("hr@1", "hr@5", "hr@10", "ndcg@5", "ndcg@10"):
        assert means[name] == pytest.approx(expected[name], abs=1e-9)
    # Request by request: both ask in the same order.
    np.testing.assert_allclose(rows[metric_names(at_k).index("hr@5")], whole.ranking.hit_rate(5))
    assert (found.judged.without_positive, found.judged.unknown_positives) == (
        whole.without_positive,
        whole.unknown_positives,
    )
    assert whole.unknown_positives > 0 and told[-1] == (100, 100)
    # What retrieval does not hand over, no ranker finds.
    handed = found.retrieved["popularity"].rank
    assert ((found.cascades["popularity"][Cascade(5)].rank > 0) == ((handed > 0) & (handed <= 5))).all()


def test_a_ranker_orders_what_it_is_handed_and_leaves_places_without_an_item_last(tiny_data, small_parts):
    model = new_model("mean_pooling", {"id_dim": 8, "hidden_units": [8]}, tiny_data.training_data, seed=3)
    held = next(iter(read_requests(tiny_data.examples["test"], places(ITEMS))))
    ranker = Ranker(model, tiny_data.training_data.transform, ITEMS)
    everything = AsRanked(ranker).scores(held)
    rows = np.tile(np.array([4, 9, 2, NOTHING], np.int32), (len(held), 1))
    probabilities = ranker.probabilities(held, rows)
    np.testing.assert_allclose(probabilities[:, :3], everything[:, [4, 9, 2]], rtol=1e-5)
    lists = Retrieved(rows, np.tile(np.array([3, 2, 1, 0], np.float32), (len(held), 1)))
    found = ranked(lists, probabilities, Cascade(4))
    assert (found[:, 3] == NOTHING).all()
    for own, scores in zip(found[:, :3], everything, strict=True):
        assert scores[own].tolist() == sorted(scores[own].tolist(), reverse=True)
    assert (np.sort(ranked(lists, probabilities, Cascade(2)), axis=1) == [4, 9]).all()
    # Ties stand in the order of retrieval.
    alike = Retrieved(np.array([[7, 3, 5]]), np.zeros((1, 3), np.float32))
    assert ranked(alike, np.array([[0.5, 0.5, 0.5]]), Cascade(3)).tolist() == [[7, 3, 5]]


def test_a_page_may_be_ordered_by_both_scores():
    rows = np.array([[4, 9, 2, 6], [8, 1, NOTHING, NOTHING]], np.int32)
    lists = Retrieved(rows, np.array([[4.0, 3.0, 1.0, 0.5], [-5.0, -6.0, 0.0, 0.0]], np.float32))
    probabilities = np.array([[0.1, 0.2, 0.9, 0.95], [0.2, 0.3, -np.inf, -np.inf]], np.float32)
    # Of three candidates 6 is not ranked. Logits: -2.20, -1.39, 2.20; with 1.5 x retrieval 3.80, 3.11, 3.70.
    assert ranked(lists, probabilities, Cascade(3))[0].tolist() == [2, 9, 4]
    assert ranked(lists, probabilities, Cascade(3, 1.5))[0].tolist() == [4, 2, 9]
    # -1.39 - 0.5 and -0.85 - 0.6: 1 is still ahead; 0 is the score of what is no item, and must not be.
    assert ranked(lists, probabilities, Cascade(4, 0.1))[1].tolist() == [1, 8, NOTHING, NOTHING]
    assert ranked(lists, probabilities, Cascade(4, 1.0))[1].tolist() == [8, 1, NOTHING, NOTHING]


def test_a_ranker_that_gives_no_numbers_is_refused(tiny_data):
    model = new_model("mean_pooling", {"id_dim": 8, "hidden_units": [8]}, tiny_data.training_data, seed=3)
    model.trainable_weights[-1].assign(np.full(model.trainable_weights[-1].shape, np.nan))
    held = next(iter(read_requests(tiny_data.examples["test"], places(ITEMS))))
    with pytest.raises(ModelError, match="probability of the ranker is NaN"):
        Ranker(model, tiny_data.training_data.transform, ITEMS).probabilities(held, np.zeros((len(held), 2), np.int32))


def test_what_the_user_had_is_left_out_and_requests_without_a_positive_are_counted(write):
    items = list("abcd")
    train = write("train", [Request("u", 1, "", "a"), Request("v", 1, "", "a"), Request("v", 2, "a", "b")])
    test = write(
        "test",
        [
            # Had a and b before: c is first of the two that are left.
            Request("u", 5, "ab", "c"),
            # A positive that the user had before is ranked all the same.
            Request("v", 6, "a", "a", "d"),
            # One of two positives is no item of the catalogue.
            Request("v", 7, "", "dz"),
            Request("v", 8, "", "z"),
            Request("v", 9, "", "", "c"),
        ],
    )
    had = items_had([train, test], test, items)
    popular = Popularity(read_train_items(train, items))
    found = evaluate_retrievers({"popularity": popular}, test, items, had, 4, np.array([True, False, False, False]))
    judged, ranks = found.judged, found.retrieved["popularity"]
    assert (judged.without_positive, judged.unknown_positives, len(judged.users)) == (2, 2, 3)
    by_row = {
        (int(judged.history_lengths[request]), items[row]): rank
        for request, row, rank in zip(judged.request, judged.row, ranks.rank, strict=True)
    }
    assert by_row == {(2, "c"): 1, (1, "a"): 1, (0, "d"): 3}
    assert ranks.coverage(1) == pytest.approx(3 / 4)
    # Lists of c and d; of all four; of b, c, d, since v had a at 7.
    assert ranks.listed.tolist() == [3, 3, 2, 1]
    for k in (0, 5):
        with pytest.raises(DataError, match=f"k is {k}; expected from 1 to 4, the items of the catalogue"):
            evaluate_retrievers({"popularity": popular}, test, items, had, k, HEAD[:4])
    with pytest.raises(DataError, match="no request of the split has a positive"):
        evaluate_retrievers({"popularity": popular}, test, ["q"], items_had([test], test, ["q"]), 1, HEAD[:1])
