"""Answers that are no vector, models without one, and versions that go between the two calls of a page."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serving.client import InvalidAnswer, SignatureNotFound, VersionNotFound
from serving.client.answers import catalogue_of, retrieval_weight_of, user_vector_of
from serving.client.tensors import number_tensor, string_tensor
from serving.protos.predict_pb2 import PredictResponse
from serving.testing import FakeRankingServer
from serving.testing.fake_model import hash_scorer
from tests.serving.client.servers import (
    CATALOGUE,
    CLIENTS,
    FEATURES,
    MODEL,
    PATIENT,
    USER,
    index_of_fake,
    products_of_fake,
)


def _connect(kind, fake):
    if kind == "rest":
        return CLIENTS[kind](fake.rest_target, MODEL, PATIENT, newest_for=0.0)
    return CLIENTS[kind](fake.target, MODEL, PATIENT)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, r"the answer has no 'user_vector', it has \[\]"),
        ({"user_vector": number_tensor([[1.0, 2.0]], "float32")}, r"shape \[1, 3\], got float32 \[1, 2\]"),
        ({"user_vector": number_tensor([1.0, 2.0, 3.0], "float32")}, r"got float32 \[3\]"),
        ({"user_vector": number_tensor([[1, 2, 3]], "int32")}, r"to be floats of shape \[1, 3\], got int32"),
        ({"user_vector": number_tensor([[1.0, math.nan, 3.0]], "float32")}, "not finite"),
    ],
)
def test_what_is_no_vector_is_no_answer(outputs, message):
    with pytest.raises(InvalidAnswer, match=message):
        user_vector_of(PredictResponse(outputs=outputs), 3)


def test_a_vector_that_names_no_catalogue_is_no_answer():
    np.testing.assert_array_equal(
        user_vector_of(PredictResponse(outputs={"user_vector": number_tensor([[1.0, 2.0]], "float32")}), 2), [[1, 2]]
    )
    assert catalogue_of(PredictResponse(outputs={"catalogue": string_tensor(["abc"], (1,))})) == "abc"
    with pytest.raises(InvalidAnswer, match="the answer has no 'catalogue'"):
        catalogue_of(PredictResponse())
    with pytest.raises(InvalidAnswer, match="to be one string, got int32"):
        catalogue_of(PredictResponse(outputs={"catalogue": number_tensor([1], "int32")}))


def test_the_order_of_a_page_is_that_of_the_version_and_not_of_the_index(kind):
    asked = {"features": FEATURES, "catalogue": CATALOGUE, "ranked_candidates": 20, "retriever": products_of_fake}
    pages = []
    for weight in (0.5, 3.0, 0.0):
        index = index_of_fake(1)
        server = FakeRankingServer(MODEL, **asked, index=index, retrieval_weight=weight)
        with server as fake, _connect(kind, fake) as client:
            by_index, whole = client.recommend(USER, 20, index=index), client.recommend(USER, 20)
        assert by_index.items == whole.items
        np.testing.assert_allclose(by_index.page_scores, whole.page_scores, rtol=1e-4)
        pages.append(whole.items)
    assert len(set(pages)) == 3


@pytest.mark.parametrize("weight", [number_tensor([math.nan], "float32"), number_tensor([[1.0]], "float32"), None])
def test_a_weight_that_is_no_number_is_no_answer(weight):
    outputs = {} if weight is None else {"retrieval_weight": weight}
    with pytest.raises(InvalidAnswer, match="retrieval_weight"):
        retrieval_weight_of(PredictResponse(outputs=outputs))


@pytest.mark.parametrize(
    ("catalogue", "message"),
    [((), "exported without a retrieval stage"), (CATALOGUE, "before models had it.*leave `index` out")],
)
def test_a_model_without_the_signature_says_what_to_do(kind, catalogue, message):
    with FakeRankingServer(MODEL, features=FEATURES, catalogue=catalogue) as fake, _connect(kind, fake) as client:
        for name in ("retrieve", "recommend"):
            with pytest.raises(SignatureNotFound, match=message):
                getattr(client, name)(USER, 3, index=index_of_fake(1))


def test_a_version_that_goes_between_the_calls_is_left_for_the_next_or_an_error(kind):
    index = index_of_fake(1)
    fake = FakeRankingServer(MODEL, features=FEATURES, catalogue=CATALOGUE, ranked_candidates=20, index=index)
    model = fake._model
    answer = model.predict

    def gone_after_the_vector(request):
        response = answer(request)
        if request.model_spec.signature_name == "user_vector" and 1 in model.versions:
            fake.add_version(2, hash_scorer)
            fake.remove_version(1)
        return response

    model.predict = gone_after_the_vector
    with fake, _connect(kind, fake) as client:
        client.metadata(version=1)
        # Both calls anew: version 2 is of the same catalogue.
        page = client.recommend(USER, 5, index=index)
        assert page.model_version == 2
        assert page.items == client.recommend(USER, 5, version=2, index=index).items
        fake.add_version(1)
        with pytest.raises(VersionNotFound, match="version 1 of model"):
            client.recommend(USER, 5, version=1, index=index)


def test_columns_of_candidates_are_missing_values(kind):
    seen = []

    def scorer(request):
        seen.append(request.columns)
        return hash_scorer(request)

    fake = FakeRankingServer(
        MODEL,
        features=FEATURES,
        columns={"price": "float32"},
        objectives=["click"],
        scorer=scorer,
        index=index_of_fake(1),
    )
    with fake, _connect(kind, fake) as client:
        page = client.recommend(USER, 5, objectives=True, index=index_of_fake(1))
    assert seen == [{"price": [None] * 20}]
    np.testing.assert_array_equal(page.objectives["click"], page.scores)
