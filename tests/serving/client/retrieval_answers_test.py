"""Answers that are no retrieval and no page, and what the fake's retrieval stage is for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serving.approximate_index import ApproximateIndex
from serving.client import (
    ClientOptions,
    InvalidAnswer,
    PrometheusMetrics,
    RetryOptions,
    ServerUnavailable,
    SignatureNotFound,
    User,
)
from serving.client.answers import answered_items, check_falling, retrieval_ranks_of
from serving.client.tensors import number_tensor, string_tensor
from serving.contract import ModelContract
from serving.export.approximate_index import write_index
from serving.page_order import page_scores
from serving.protos.predict_pb2 import PredictResponse
from serving.testing import FakeRankingServer, FakeRequest
from tests.serving.client.servers import (
    CATALOGUE,
    CLIENTS,
    FEATURES,
    MODEL,
    PATIENT,
    USER,
    items,
    products_of_fake,
    vectors_of_fake,
)


def _connect(kind, fake, options=PATIENT):
    if kind == "rest":
        return CLIENTS[kind](fake.rest_target, MODEL, options, newest_for=0.0)
    return CLIENTS[kind](fake.target, MODEL, options)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, r"the answer has no 'item_id', it has \[\]"),
        ({"item_id": string_tensor(["a", "b"], (1, 2))}, r"'item_id' of shape \[1, 3\] or wider, got \[1, 2\] with 2"),
        ({"item_id": string_tensor(["a", "b", "c"], (3,))}, r"got \[3\] with 3 values"),
        ({"item_id": string_tensor(["a", "b", "c", "d"], (2, 2))}, r"got \[2, 2\]"),
        ({"item_id": string_tensor(["a"], (1, 10**12))}, "with 1 values"),
        ({"item_id": number_tensor([[1, 2, 3]], "int32")}, "to be strings, got int32"),
        ({"item_id": string_tensor(["a", "", "b"], (1, 3))}, "items after padding, the first padding is at place 1"),
        ({"item_id": string_tensor(["a", "b", "a"], (1, 3))}, "3 items, of which only 2 are different"),
        ({"item_id": string_tensor(["a", "no", ""], (1, 3))}, "1 items that the request excluded, such as 'no'"),
    ],
)
def test_what_is_no_list_of_items_is_no_answer(outputs, message):
    with pytest.raises(InvalidAnswer, match=message):
        answered_items(PredictResponse(outputs=outputs), 3, ["no"])


def test_an_id_that_is_no_text_is_no_answer():
    response = PredictResponse(outputs={"item_id": string_tensor(["a", "b"], (1, 2))})
    response.outputs["item_id"].string_val[1] = b"caf\xe9"
    with pytest.raises(InvalidAnswer, match="an item id that is no text"):
        answered_items(response, 2, [])


def test_an_answer_that_a_batching_server_made_wider_is_cut():
    response = PredictResponse(outputs={"item_id": string_tensor(["a", "b", "a", ""], (1, 4))})
    assert answered_items(response, 2, []) == ["a", "b"]
    assert answered_items(response, 1, []) == ["a"]


def test_scores_that_rise_are_no_answer():
    check_falling(np.array([], np.float32))
    check_falling(np.array([3, 3, -math.inf], np.float32))
    with pytest.raises(InvalidAnswer, match=r"not in the order of their scores: 1\.0 is followed by 2\.0"):
        check_falling(np.array([3, 1, 2], np.float32))


@pytest.mark.parametrize("ranks", [number_tensor([[1, 0]], "int32"), number_tensor([[1.0, 2.0]], "float32")])
def test_ranks_are_whole_numbers_from_1_on(ranks):
    with pytest.raises(InvalidAnswer, match="'retrieval_rank' to be integers from 1 on"):
        retrieval_ranks_of(PredictResponse(outputs={"retrieval_rank": ranks}), 2)


def test_a_model_without_retrieval_says_what_to_do(kind):
    with FakeRankingServer(MODEL, features=FEATURES) as fake, _connect(kind, fake) as client:
        for name in ("retrieve", "recommend"):
            with pytest.raises(
                SignatureNotFound,
                match=rf"version 1 of model '{MODEL}' has no signature '{name}'.*`stages: .*choose candidates yourself",
            ):
                getattr(client, name)(USER, 3)
        assert len(client.rank(USER, items(3))) == 3
        assert fake.calls["retrieve"] == fake.calls["recommend"] == 0


@pytest.mark.parametrize("before", [(), items(30)], ids=["without", "with"])
def test_a_new_version_may_bring_the_stage_or_lose_it(kind, before):
    with FakeRankingServer(MODEL, features=FEATURES, catalogue=before) as fake, _connect(kind, fake) as client:
        client.rank(USER, items(3))
        ports = {"port": int(fake.target.partition(":")[2]), "rest_port": int(fake.rest_target.partition(":")[2])}
        fake.kill()
        after = () if before else items(30)
        with FakeRankingServer(MODEL, features=FEATURES, catalogue=after, versions=(2,), **ports):
            if after:
                assert client.recommend(USER, 3).model_version == 2
            else:
                with pytest.raises(
                    SignatureNotFound, match=r"version 2 of model .* exported without a retrieval stage"
                ):
                    client.recommend(USER, 3)


def test_the_stages_of_the_fake_are_functions_of_the_tests_own(kind):
    seen: list[FakeRequest] = []

    def shortest(request: FakeRequest) -> list[float]:
        seen.append(request)
        return [-100.0 * len(item) for item in request.candidates]

    def last(request: FakeRequest) -> dict[str, list[float]]:
        seen.append(request)
        click = [ord(item[0]) / 128 for item in request.candidates]
        return {"score": [8 * each - 6 for each in click], "score/click": click, "score/buy": click}

    fake = FakeRankingServer(
        MODEL,
        columns={"price": "float32"},
        objectives=["click", "buy"],
        catalogue=["aaa", "bb", "z", "yy", "x" * 9],
        ranked_candidates=3,
        scorer=last,
        retriever=shortest,
    )
    with fake, _connect(kind, fake) as client:
        fake.pad_answers(4)
        user = User("u", ["bb"])
        page = client.recommend(user, 3, objectives=True, exclude=["z"], exclude_history=True)
        plain = client.recommend(user, 2)
    # Ties of retrieval are in the catalogue's order; "z" and "bb" leave their places to longer ones.
    assert page.items == ("yy", "x" * 9, "aaa")
    assert [(entry.retrieval_rank, entry.retrieval_score) for entry in page] == [(1, -200.0), (3, -900.0), (2, -300.0)]
    np.testing.assert_allclose(page.objectives["click"], [ord(letter) / 128 for letter in "yxa"])
    assert set(page.objectives) == {"click", "buy"}
    assert (plain.items, plain.objectives) == (("z", "yy"), {})
    assert seen[1].columns == {"price": [None] * 3}
    for array in (page.scores, page.retrieval_scores, page.retrieval_ranks, page.objectives["buy"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_page_in_the_order_of_both_scores_is_alike_with_and_without_an_index(kind, tmp_path):
    vectors = vectors_of_fake(1)
    write_index(tmp_path, CATALOGUE, vectors, vectors, ranked_candidates=20)
    index = ApproximateIndex.load(tmp_path)
    asked = {"features": FEATURES, "catalogue": CATALOGUE, "ranked_candidates": 20, "retriever": products_of_fake}
    with FakeRankingServer(MODEL, **asked, index=index, retrieval_weight=0.5) as fake, _connect(kind, fake) as client:
        page, whole, by_index = (
            client.recommend(USER, 7),
            client.recommend(USER, 20),
            client.recommend(USER, 7, index=index),
        )
        none_left = client.recommend(USER, 3, exclude=CATALOGUE, index=index)
    with FakeRankingServer(MODEL, **asked) as fake, _connect(kind, fake) as client:
        alone = client.recommend(USER, 20)
    np.testing.assert_allclose(page.page_scores, page_scores(page.scores, page.retrieval_scores, 0.5), rtol=1e-5)
    assert list(page.page_scores) == sorted(page.page_scores, reverse=True)
    assert list(page.scores) != sorted(page.scores, reverse=True)
    assert (page.items, set(whole.items)) == (whole.items[:7], set(alone.items)) and whole.items != alone.items
    np.testing.assert_array_equal(alone.page_scores, alone.scores)
    assert (page.items, list(page.retrieval_ranks)) == (by_index.items, list(by_index.retrieval_ranks))
    np.testing.assert_allclose(by_index.page_scores, page.page_scores, rtol=1e-4)
    np.testing.assert_allclose(by_index.scores, page.scores, rtol=1e-6)
    assert (len(none_left), len(none_left.page_scores)) == (0, 0)
    with pytest.raises(ValueError, match="read-only"):
        page.page_scores[0] = 0


def test_what_a_label_retrieved_is_ranked_by_its_version_after_the_label_moved(kind):
    with FakeRankingServer(MODEL, features=FEATURES, catalogue=items(9)) as fake, _connect(kind, fake) as client:
        fake.add_version(2)
        fake.set_label("stable", 1)
        found = client.retrieve(USER, 5, label="stable")
        page = client.recommend(USER, 5, label="stable")
        fake.set_label("stable", 2)
        assert (found.model_version, page.model_version) == (1, 1)
        assert client.rank(USER, found.items, version=found.model_version).model_version == 1
        assert client.recommend(USER, 5, label="stable").model_version == 2


def test_a_feature_of_a_model_without_retrieval_may_be_called_as_its_inputs(kind):
    features = {"k": "float32", "exclude_item_id": "string"}
    user = {"user_id": "u", "history_item_id": ["i1"], "k": 3.0, "exclude_item_id": "x"}
    with FakeRankingServer(MODEL, features=features) as fake, _connect(kind, fake) as client:
        ranking = client.rank(user, items(5))
        scored = client.score(client.encode_user(user), items(5))
        assert list(scored) == list(ranking) != list(client.rank(user | {"k": 4.0}, items(5)))


def test_a_page_is_tried_again_counted_and_given_up_as_any_call(kind):
    metrics = PrometheusMetrics()
    options = ClientOptions(deadline=30.0, retry=RetryOptions(max_attempts=2, initial_backoff=0.001), on_call=metrics)
    with (
        FakeRankingServer(MODEL, features=FEATURES, catalogue=items(9)) as fake,
        _connect(kind, fake, options) as client,
    ):
        client.metadata()
        fake.fail("UNAVAILABLE", times=1)
        assert len(client.retrieve(USER, 3)) == 3
        fake.fail("UNAVAILABLE", times=2)
        with pytest.raises(ServerUnavailable):
            client.recommend(USER, 3)
        assert len(client.recommend(USER, 3)) == 3
    text = metrics.render()
    assert 'signature="retrieve",version="1",outcome="ok"' in text
    assert 'signature="recommend",version="1",outcome="ok"' in text


def test_contracts_of_models_without_retrieval_are_what_they_were(tmp_path):
    alone = ModelContract("m", 5, {})
    for name in ("retrieval_items", "ranked_candidates", "retrieval_weight"):
        assert name not in alone.to_json()
    two = ModelContract("m", 5, {}, retrieval_items=1000, ranked_candidates=50)
    for each in (alone, two):
        (tmp_path / "signature_contract.json").write_text(each.to_json())
        assert ModelContract.read(tmp_path) == each
