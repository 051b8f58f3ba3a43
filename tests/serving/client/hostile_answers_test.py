"""Whatever a server sends, what leaves the client is a RankingError."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.client import RankingError, User
from serving.client.answers import answered_items, check_falling, retrieval_ranks_of, scores_of, state_of, version_of
from serving.client.candidates import Candidates
from serving.client.grpc_channel import GrpcMessages
from serving.client.model_info import Signature, metadata_request, parse_metadata, parse_status
from serving.client.options import ClientOptions
from serving.client.requests import Selector, candidate_tensors, predict_request, scoring_signature, user_tensors
from serving.client.rest_json import decode, error_details
from serving.client.wanted import Wanted
from serving.contract import TensorContract
from serving.protos.model_status_pb2 import GetModelStatusRequest
from serving.testing import FakeRankingServer
from tests.serving.client.servers import FEATURES, MODEL

# Keys that the client looks for, in any order and at any depth, beside others.
KEYS = st.sampled_from(
    [
        *("outputs", "model_spec", "version", "name", "metadata", "signature_def", "inputs", "dtype", "tensor_shape"),
        *("item_id", "retrieval_rank"),
        *("dim", "size", "model_version_status", "state", "status", "error_code", "score", "keys", "rank", "error"),
    ]
)
SCALARS = (
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.sampled_from(["DT_FLOAT", "1"])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
SIGNATURE = Signature({}, {"score": TensorContract("float32", (None, None)), "keys": TensorContract("bool", (None,))})
PAGE = Signature(
    {},
    {
        "item_id": TensorContract("string", (None, None)),
        "score": TensorContract("float32", (None, None)),
        "retrieval_rank": TensorContract("int32", (None, None)),
    },
)
USER = User("u1", ["i1"], {"gender": "f", "age": 34.0})


def use_metadata(metadata) -> None:
    """What the client makes of metadata: a request."""
    _ = metadata.features, metadata.content, metadata.columns
    name, signature = scoring_signature(metadata, "rank", {})
    user_tensors(USER, metadata, name, ClientOptions())
    candidate_tensors(Candidates(["i1"]), signature, metadata, ClientOptions())


def use_page(response) -> None:
    """What the client makes of a page of two items at most."""
    items = answered_items(response, 2, ["i1"])
    assert len(items) <= 2
    check_falling(scores_of(response, len(items), probable=False))
    assert len(retrieval_ranks_of(response, len(items))) == len(items)


@settings(max_examples=300)
@given(answer=JSON)
def test_any_json_is_an_answer_or_a_ranking_error(answer):
    raw = json.dumps(answer).encode()
    error_details(raw)
    with contextlib.suppress(RankingError):
        parse_status(MODEL, decode(GetModelStatusRequest(), raw, None))
    with contextlib.suppress(RankingError):
        use_metadata(parse_metadata(decode(metadata_request(Selector().spec(MODEL)), raw, None)))
    for outputs in (["score"], ["score", "keys"]):
        request = predict_request(MODEL, "rank", Selector(version=1), {}, outputs)
        with contextlib.suppress(RankingError):
            response = decode(request, raw, SIGNATURE)
            state_of(response, outputs)
            scores_of(response, 2)
    request = predict_request(MODEL, "recommend", Selector(version=1), {}, sorted(PAGE.outputs))
    with contextlib.suppress(RankingError):
        use_page(decode(request, raw, PAGE))


@pytest.mark.parametrize("depth", [10, 300, 900, 5_000, 100_000])
@pytest.mark.parametrize("piece", [("[", "]"), ('{"error":', "}"), ('{"outputs":', "}"), ('{"outputs":[', "]}")])
def test_any_depth_of_json_is_an_answer_or_a_ranking_error(depth, piece):
    opening, closing = piece
    raw = (opening * depth + "1" + closing * depth).encode()
    error_details(raw)
    for request in (
        GetModelStatusRequest(),
        metadata_request(Selector().spec(MODEL)),
        predict_request(MODEL, "rank", Selector(version=1), {}, ["score"]),
    ):
        with contextlib.suppress(RankingError):
            decode(request, raw, SIGNATURE)


@pytest.fixture(scope="module")
def answers():
    """Requests to the fake, with its answers as bytes."""
    fake = FakeRankingServer(MODEL, features=FEATURES, content={"text": 4}, catalogue=["i1", "i2", "i3"])
    metadata = parse_metadata(fake._model.metadata(metadata_request(Selector().spec(MODEL))))
    inputs = user_tensors(USER, metadata, "rank", ClientOptions())
    inputs |= candidate_tensors(Candidates(["i1", "i2"]), metadata.signatures["rank"], metadata, ClientOptions())
    page = user_tensors(USER, metadata, "recommend", ClientOptions()) | Wanted.of(2, ["i1"], False).tensors(USER)
    asked = {
        "status": GetModelStatusRequest(model_spec={"name": MODEL}),
        "metadata": metadata_request(Selector().spec(MODEL)),
        "rank": predict_request(MODEL, "rank", Selector(), inputs, ["score"]),
        "recommend": predict_request(MODEL, "recommend", Selector(), page, sorted(PAGE.outputs)),
    }
    methods = {"status": fake._model.status, "metadata": fake._model.metadata}
    return {
        name: (request, methods.get(name, fake._model.predict)(request).SerializeToString())
        for name, request in asked.items()
    }


@settings(max_examples=300)
@given(data=st.data())
def test_any_changed_bytes_are_an_answer_or_a_ranking_error(answers, data):
    name = data.draw(st.sampled_from(sorted(answers)))
    request, good = answers[name]
    raw = bytearray(good[: data.draw(st.integers(0, len(good)))] if data.draw(st.booleans()) else good)
    for place in data.draw(st.lists(st.integers(0, max(0, len(raw) - 1)), max_size=4)):
        raw[place : place + 1] = bytes([data.draw(st.integers(0, 255))])
    with contextlib.suppress(RankingError):
        response = GrpcMessages().decode(request, bytes(raw), None)
        if name == "status":
            parse_status(MODEL, response)
        elif name == "metadata":
            use_metadata(parse_metadata(response))
        elif name == "recommend":
            use_page(response)
        else:
            version_of(response)
            assert len(scores_of(response, 2)) == 2
