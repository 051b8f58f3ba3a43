"""Search of a catalogue and the two signatures, against NumPy and through TensorFlow Serving's loader."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from serving import contract
from serving.approximate_index import catalogue_digest
from serving.export.retrieval import CatalogueIndex, RetrievalStage, recommended, retrieved
from serving.export.servable import Servable
from serving.export.signatures import export_model
from serving.page_order import page_scores
from tests.serving.export.small_models import ITEMS, VocabularyTransform, raw_requests, small_model

IDS = ["a", "b", "c", "d", "e"]
VECTORS = np.array([[1, 0], [0, 1], [1, 0], [0.5, 0.5], [-1, 0]], np.float32)
USERS = tf.constant([[1.0, 0.0], [0.0, 2.0]])


def _index():
    return CatalogueIndex(IDS, VECTORS)


def _search(excluded, k):
    ids, scores, there = _index().search(USERS, tf.constant(excluded, tf.int32), tf.constant(k))
    return [[item.decode() for item in row] for row in ids.numpy().tolist()], scores.numpy(), there.numpy()


def test_finds_the_largest_products_and_of_equal_ones_the_first():
    ids, scores, there = _search(np.zeros((2, 0)), 3)
    assert ids == [["a", "c", "d"], ["b", "d", "a"]]
    np.testing.assert_allclose(scores, [[1, 1, 0.5], [2, 1, 0]])
    assert there.all()


def test_what_is_excluded_is_not_found_and_a_list_may_be_short():
    ids, scores, there = _search([[1, 0, 1], [2, 4, 0]], 5)
    assert ids == [["c", "d", "b", "e", ""], ["a", "c", "e", "", ""]]
    np.testing.assert_allclose(scores, [[1, 0.5, 0, -1, 0], [0, 0, 0, 0, 0]])
    assert there.sum(1).tolist() == [4, 3]


def test_a_place_beyond_the_catalogue_excludes_nothing():
    assert _search([[1, 6, 9], [6, 0, 0]], 5)[0] == [["c", "d", "b", "e", ""], ["b", "d", "a", "c", "e"]]


def test_refuses_vectors_that_are_not_of_the_catalogue():
    with pytest.raises(ValueError, match=r"a vector for each of 4 items, got \[5, 2\]"):
        CatalogueIndex(IDS[:4], VECTORS)


def test_each_request_has_its_own_k():
    found = retrieved(RetrievalStage(None, _index()), USERS, tf.zeros((2, 0), tf.int32), tf.constant([1, 3]))
    assert found["item_id"].numpy().tolist() == [[b"a", b"", b""], [b"b", b"d", b"a"]]
    np.testing.assert_allclose(found["score"], [[1, 0, 0], [2, 1, 0]])


def test_what_was_retrieved_is_shown_in_the_order_of_the_ranker():
    scores = {"a": 0.1, "b": 0.2, "c": 0.9, "d": 0.1, "e": 0.8, "": 1.0}

    def rank(ids):
        values = np.vectorize(lambda item: scores[item.decode()])(ids.numpy()).astype(np.float32)
        return {"score": tf.constant(values), "score/buy": tf.constant(values / 2)}

    stage = RetrievalStage(None, _index(), candidates=4)
    excluded = tf.constant([[2, 5], [1, 3]])
    found = recommended(stage, USERS, excluded, tf.constant([2, 4]), rank)
    # Of "a" and "d", which score alike, the one that was retrieved first; e was not retrieved for the first user.
    assert found["item_id"].numpy().tolist() == [[b"c", b"a", b"", b""], [b"e", b"b", b"d", b""]]
    np.testing.assert_allclose(found["score"], [[0.9, 0.1, 0, 0], [0.8, 0.2, 0.1, 0]])
    np.testing.assert_allclose(found["score/buy"], [[0.45, 0.05, 0, 0], [0.4, 0.1, 0.05, 0]])
    np.testing.assert_allclose(found["retrieval_score"], [[1, 1, 0, 0], [0, 2, 1, 0]])
    assert found["retrieval_rank"].numpy().tolist() == [[2, 1, 0, 0], [3, 1, 2, 0]]


def test_a_page_may_be_in_the_order_of_both_scores():
    scores = {"a": 0.1, "b": 0.2, "c": 0.9, "d": 0.1, "e": 0.8, "": 1.0}

    def rank(ids):
        return {"score": tf.constant(np.vectorize(lambda item: scores[item.decode()])(ids.numpy()).astype(np.float32))}

    everything, k = tf.zeros((2, 0), tf.int32), tf.constant([4, 3])
    alone = recommended(RetrievalStage(None, _index(), candidates=4), USERS, everything, k, rank)
    both = recommended(RetrievalStage(None, _index(), candidates=4, weight=10.0), USERS, everything, k, rank)
    assert set(both) - set(alone) == {"page_score"}
    for row, wanted in enumerate(k.numpy()):
        items = [item.decode() for item in both["item_id"].numpy()[row, :wanted]]
        shown = {name: both[name].numpy()[row, :wanted] for name in ("score", "retrieval_score", "page_score")}
        np.testing.assert_allclose(shown["score"], [scores[item] for item in items])
        expected = page_scores(shown["score"], shown["retrieval_score"], 10.0)
        np.testing.assert_allclose(shown["page_score"], expected, rtol=1e-5)
        assert shown["page_score"].tolist() == sorted(shown["page_score"].tolist(), reverse=True)
    # Scores of retrieval are far apart beside logits times ten: both orders are not one.
    assert both["item_id"].numpy()[0].tolist() != alone["item_id"].numpy()[0].tolist()
    assert not both["page_score"].numpy()[1, 3]


@pytest.mark.parametrize("k", [0, -1, 5])
def test_refuses_a_k_that_cannot_be(k):
    stage = RetrievalStage(None, _index(), candidates=4)
    if k < 1:
        with pytest.raises(tf.errors.InvalidArgumentError, match="k must be from 1 to 5, the items of the catalogue"):
            retrieved(stage, USERS, tf.zeros((2, 0), tf.int32), tf.constant([1, k]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="k must be from 1 to 4, the items that are ranked"):
        recommended(stage, USERS, tf.zeros((2, 0), tf.int32), tf.constant([1, k]), None)


def test_ranks_no_more_than_there_are():
    assert RetrievalStage(None, _index(), candidates=500).ranked == 5


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A ranker with two towers, and what their vectors are by Keras."""
    folder = tmp_path_factory.mktemp("retrieval") / "1"
    tower, transform = small_model("two_towers"), VocabularyTransform()
    vectors = tower.item_tower(transform.candidates({contract.CANDIDATE_ITEM_ID: tf.constant([ITEMS])}))[0].numpy()
    stage = RetrievalStage(tower, CatalogueIndex(ITEMS, vectors), candidates=7)
    written = export_model(small_model("target_attention"), transform, folder, name="x", max_history=5, retrieval=stage)
    users = tower.user_tower(transform.user({k: tf.constant(v) for k, v in _user().items()})).numpy()
    return folder, written, users @ vectors.T


def _user():
    return {name: value for name, value in raw_requests().items() if name != contract.CANDIDATE_ITEM_ID}


def test_the_contract_says_what_there_is(exported):
    folder, written, _ = exported
    assert (written.retrieval_items, written.ranked_candidates) == (29, 7)
    assert contract.ModelContract.read(folder) == written
    assert set(written.signatures["recommend"]["outputs"]) == {"item_id", "score", "retrieval_score", "retrieval_rank"}
    assert "retrieval_items" in json.loads((folder / contract.CONTRACT_FILE).read_text(encoding="utf-8"))


@pytest.mark.parametrize("optimised", [False, True])
def test_through_the_loader_of_tensorflow_serving(exported, optimised):
    folder, _, products = exported
    excluded = np.array([["i3", "new", ""], ["", "i9", "i9"], ["i1", "i2", "i3"]], object)
    for row, items in enumerate(excluded):
        products = products.copy()
        products[row, [ITEMS.index(item) for item in items if item in ITEMS]] = -np.inf
    order = np.argsort(-products, axis=1, kind="stable")
    asked = {**_user(), "k": np.array([4, 7, 1], np.int32), "exclude_item_id": excluded}
    with Servable(folder, optimised=optimised) as servable:
        found = servable.run("retrieve", asked)
        page = servable.run("recommend", asked)
        ranked = servable.run("rank", {**_user(), contract.CANDIDATE_ITEM_ID: np.array(ITEMS, object)[order[:, :7]]})
        with pytest.raises(tf.errors.InvalidArgumentError, match="k must be from 1 to 7"):
            servable.run("recommend", {**asked, "k": np.array([4, 8, 1], np.int32)})
        # The server goes on.
        servable.run("recommend", {**asked, "exclude_item_id": np.empty((3, 0), object)})
    for row, k in enumerate(asked["k"]):
        best = order[row, :k]
        assert [item.decode() for item in found["item_id"][row]] == [ITEMS[item] for item in best] + [""] * (7 - k)
        np.testing.assert_allclose(found["score"][row, :k], products[row, best], rtol=1e-5)
        by_rank = np.argsort(-ranked["score"][row], kind="stable")[:k]
        assert [item.decode() for item in page["item_id"][row, :k]] == [ITEMS[order[row, place]] for place in by_rank]
        np.testing.assert_allclose(page["score"][row, :k], ranked["score"][row, by_rank], atol=1e-6)
        assert page["retrieval_rank"][row].tolist() == [*(by_rank + 1), *[0] * (7 - k)]


def test_a_users_vector_names_the_catalogue_that_it_is_for(exported):
    folder, written, products = exported
    with Servable(folder, optimised=False) as servable:
        found = servable.run("user_vector", _user())
    assert set(written.signatures["user_vector"]["outputs"]) == {"user_vector", "catalogue"}
    tower, transform = small_model("two_towers"), VocabularyTransform()
    vectors = tower.item_tower(transform.candidates({contract.CANDIDATE_ITEM_ID: tf.constant([ITEMS])}))[0].numpy()
    np.testing.assert_allclose(found["user_vector"] @ vectors.T, products, rtol=1e-4, atol=1e-5)
    assert found["catalogue"].tolist() == [catalogue_digest(ITEMS, vectors).encode()] * len(products)


def test_a_model_without_the_stage_is_written_as_before(exported, tmp_path):
    _, with_stage, _ = exported
    written = export_model(
        small_model("target_attention"), VocabularyTransform(), tmp_path / "1", name="x", max_history=5
    )
    assert not {"retrieve", "recommend", "user_vector"} & set(written.signatures)
    assert "retrieval_items" not in written.to_json() and "ranked_candidates" not in written.to_json()
    stage = ("retrieve", "recommend", "user_vector")
    others = {name: spec for name, spec in with_stage.signatures.items() if name not in stage}
    assert dataclasses.replace(with_stage, signatures=others, retrieval_items=0, ranked_candidates=0) == written


def test_two_towers_alone_retrieve_and_do_not_recommend(tmp_path):
    tower, transform = small_model("two_towers"), VocabularyTransform()
    vectors = tower.item_tower(transform.candidates({contract.CANDIDATE_ITEM_ID: tf.constant([ITEMS])}))[0].numpy()
    stage = RetrievalStage(tower, CatalogueIndex(ITEMS, vectors))
    written = export_model(tower, transform, tmp_path / "1", name="two_towers", max_history=5, retrieval=stage)
    assert "retrieve" in written.signatures and "recommend" not in written.signatures
    assert (written.retrieval_items, written.ranked_candidates) == (29, 0)
