"""Content vectors that come with a request, and answers that are none."""

from __future__ import annotations

import numpy as np
import pytest

from serving.client import BadRequest, ClientOptions, InvalidAnswer, RankingClient, SignatureNotFound
from serving.client.candidates import Candidates
from serving.client.model_info import ModelMetadata, Signature
from serving.client.options import ClientOptions as Options
from serving.client.requests import Selector, candidate_tensors, user_tensors
from serving.client.tensors import to_array
from serving.client.text import shown
from serving.client.user import User
from serving.contract import TensorContract
from serving.testing import FakeRankingServer
from tests.serving.client.servers import CLIENTS, FEATURES, MODEL, PATIENT, USER, items


@pytest.fixture
def fake():
    with FakeRankingServer(MODEL, features=FEATURES, content={"text": 4, "image": 2}) as server:
        yield server


@pytest.fixture
def client(fake, kind):
    with CLIENTS[kind](fake.rest_target if kind == "rest" else fake.target, MODEL, PATIENT) as client:
        yield client


def test_content_of_a_request_changes_the_scores_of_its_rows_alone(client):
    assert client.metadata().content == {"image": 2, "text": 4}
    plain = client.rank(USER, items(5)).scores_in_request_order
    vectors = np.zeros((5, 4))
    vectors[3] = [1, 2, 3, 4]
    ranked = client.rank(USER, items(5), content={"text": vectors}).scores_in_request_order
    scored = client.score(client.encode_user(USER), items(5), content={"text": vectors}).scores_in_request_order
    np.testing.assert_array_equal(ranked, scored)
    assert np.flatnonzero(ranked != plain).tolist() == [3]


def test_signatures_with_content_are_asked_only_for_content(fake, client):
    client.rank(USER, items(3))
    client.rank(USER, items(3), content={})
    client.rank(USER, items(3), content={"image": np.ones((3, 2))})
    state = client.encode_user(USER)
    client.score(state, items(3))
    client.score(state, items(3), content={"image": np.ones((3, 2)), "text": np.zeros((3, 4))})
    fake.calls.pop("GetModelMetadata")
    assert fake.calls == {
        "rank": 2,
        "rank_with_content": 1,
        "user_tower": 1,
        "candidate": 1,
        "candidate_with_content": 1,
    }


def test_content_is_split_with_its_candidates(fake, kind, client):
    vectors = np.random.default_rng(0).normal(size=(20, 4))
    whole = client.rank(USER, items(20), content={"text": vectors})
    options = ClientOptions(deadline=30.0, max_candidates_per_call=6)
    with CLIENTS[kind](fake.rest_target if kind == "rest" else fake.target, MODEL, options) as splitting:
        assert list(splitting.rank(USER, items(20), content={"text": vectors})) == list(whole)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"text": np.ones((3, 5))}, r"content\['text'\] must be 4 wide, as the model's encoder gives it, got 5"),
        ({"text": np.ones((2, 4))}, r"content\['text'\] must have shape \[3, width\].*got \[2, 4\]"),
        ({"text": np.ones(4)}, r"must have shape \[3, width\].*got \[4\]"),
        ({"text": [[1.0, 2, 3, 4], [1, 2, 3, np.nan], [1, 2, 3, 4]]}, r"content\['text'\] has NaN.*first in row 1"),
        ({"text": [[1e300] * 4] * 3}, r"content\['text'\] has NaN or infinite values \(as float32\), first in row 0"),
        ({"text": [[10**400] * 4] * 3}, r"content\['text'\] must be an array of numbers: int too large"),
        ({"text": [["a"] * 4] * 3}, r"content\['text'\] must be an array of numbers"),
        ({"audio": np.ones((3, 4))}, r"takes no content 'audio' with a request; it takes \['image', 'text'\]"),
        (np.ones((3, 4)), "content must map modalities to arrays, got ndarray"),
    ],
    ids=["width", "rows", "rank", "nan", "beyond float32", "beyond floats", "strings", "unknown", "no mapping"],
)
@pytest.mark.filterwarnings("error:overflow")
def test_wrong_content_is_named_before_any_call(fake, client, content, message):
    state = client.encode_user(USER)
    fake.calls.clear()
    for call in (
        lambda: client.rank(USER, items(3), content=content),
        lambda: client.score(state, items(3), content=content),
    ):
        with pytest.raises(BadRequest, match=message) as error:
            call()
        assert error.value.field.startswith("content")
    assert sum(count for name, count in fake.calls.items() if name != "GetModelMetadata") == 0


@pytest.mark.parametrize("extra", [1, 30])
def test_answers_wider_than_the_request_are_cut(fake, client, extra):
    expected = client.rank(USER, items(5)).scores_in_request_order
    state = client.encode_user(USER)
    fake.pad_answers(extra)
    for ranking in (client.rank(USER, items(5)), client.score(state, items(5))):
        assert len(ranking) == 5
        np.testing.assert_array_equal(ranking.scores_in_request_order, expected)


def test_scores_that_are_not_finite_are_no_ranking(client, fake):
    fake.add_version(2, lambda request: [0.5, float("nan"), 0.25])
    with pytest.raises(InvalidAnswer, match="1 of 3 scores are not finite, the first is that of candidate 1"):
        client.rank(USER, items(3), version=2)


def test_a_model_without_the_signatures_is_named():
    metadata = ModelMetadata("other", 3, {"serving_default": Signature({"x": TensorContract("float32", (None,))}, {})})
    with pytest.raises(
        SignatureNotFound, match=r"version 3 of model 'other' has no signature 'rank', it has \['serving_"
    ):
        user_tensors(User("u", []), metadata, "rank", Options())


def metadata_of(**inputs):
    rank = {"history_item_id": TensorContract("string", (None, None)), **inputs}
    return ModelMetadata("other", 3, {"rank": Signature(rank, {})})


@pytest.mark.parametrize("dtype", ["complex64", "bfloat16", "int8", "bool", "dtype number 99"])
def test_a_feature_of_a_dtype_that_cannot_be_sent_is_named(dtype):
    metadata = metadata_of(age=TensorContract(dtype, (None,)))
    with pytest.raises(SignatureNotFound, match=f"feature 'age' is {dtype} in the model; expected string or one of"):
        user_tensors(User("", [], {"age": 3}), metadata, "rank", Options())


@pytest.mark.parametrize(
    "value",
    [2**63, np.float64(2**63), -(2**63) - 1, 10**5000, 1e300, 34.5, float("nan"), float("inf"), None],
    ids=shown,
)
def test_an_integer_that_the_dtype_does_not_hold_is_named(value):
    metadata = metadata_of(age=TensorContract("int64", (None,)))
    with pytest.raises(
        BadRequest, match=r"feature 'age' \(int64\) cannot be .*; expected an integer in its range"
    ) as error:
        user_tensors(User("", [], {"age": value}), metadata, "rank", Options())
    assert error.value.field == "age"


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**53 + 1, 34.0, np.int32(7)])
def test_an_integer_is_sent_as_it_is(value):
    metadata = metadata_of(age=TensorContract("int64", (None,)))
    tensors = user_tensors(User("", [], {"age": value}), metadata, "rank", Options())
    assert to_array(tensors["age"]).tolist() == [value]


def test_the_range_is_that_of_the_dtype():
    for dtype, largest in (
        ("float16", 65504.0),
        ("float32", 3.4028234663852886e38),
        ("float64", 1.7976931348623157e308),
    ):
        metadata = metadata_of(age=TensorContract(dtype, (None,)))
        tensors = user_tensors(User("", [], {"age": largest}), metadata, "rank", Options())
        assert to_array(tensors["age"]).tolist() == [largest]
        with pytest.raises(BadRequest, match="cannot be"):
            user_tensors(User("", [], {"age": int(largest) * 2}), metadata, "rank", Options())


@pytest.mark.parametrize("shape", [(), (None,), (None, None, None), (None, None, 0), (None, None, 2**62)])
def test_content_of_a_shape_that_is_none_is_named(shape):
    signature = Signature({"candidate_content/text": TensorContract("float32", shape)}, {})
    with pytest.raises(
        SignatureNotFound, match=r"'candidate_content/text' in the shape .*expected \[null, null, width\]"
    ):
        candidate_tensors(Candidates(["i1"]), signature, metadata_of(), Options())


def test_every_history_begins_with_padding(fake):
    # TensorFlow Serving pads a batch with a tensor's first element; an item would count as further clicks.
    with RankingClient(fake.target, MODEL, PATIENT) as client:
        metadata = client.metadata()
    for history, sent in ([], [b""]), (["a", "b"], [b"", b"a", b"b"]):
        user = User("u", history, {"gender": None, "age": None})
        tensors = user_tensors(user, metadata, "rank", Options())
        assert to_array(tensors["history_item_id"]).tolist() == [sent]
        assert to_array(tensors["gender"]).tolist() == [b""]
        assert np.isnan(to_array(tensors["age"])).all()


def test_a_version_is_named_in_one_way():
    with pytest.raises(BadRequest, match="give version=1 or label='stable', not both"):
        Selector(1, "stable")
    with pytest.raises(BadRequest, match="version must be an int, got str '1'"):
        Selector("1")
    with pytest.raises(BadRequest, match="label must be a non-empty string, got ''"):
        Selector(label="")
