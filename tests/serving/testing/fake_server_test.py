"""The fake as users meet it: scores of their own, labels, counted calls, injected failures."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest

from serving.client import BadRequest, ClientOptions, ModelNotFound, RankingClient, ServerError, User, VersionNotFound
from serving.client.grpc_channel import PREDICT
from serving.client.requests import Selector, predict_request
from serving.client.tensors import number_tensor, string_tensor
from serving.testing import FakeRankingServer, FakeRequest
from tests.serving.client.servers import CLIENTS, FEATURES, MODEL, PATIENT, USER, items


@pytest.fixture
def fake():
    with FakeRankingServer(MODEL, features=FEATURES) as server:
        yield server


@pytest.fixture
def client(fake, kind):
    with CLIENTS[kind](fake.rest_target if kind == "rest" else fake.target, MODEL, PATIENT) as client:
        yield client


def test_a_scorer_sees_the_request(kind):
    seen = []

    def by_length(request: FakeRequest) -> list[float]:
        seen.append(request)
        return [len(item) / 10 for item in request.candidates]

    user = User("", ["i1", "", "i2"], {"gender": None, "age": 34.5})
    with FakeRankingServer(MODEL, features=FEATURES, scorer=by_length, versions=(4,)) as server:
        target = server.rest_target if kind == "rest" else server.target
        with CLIENTS[kind](target, MODEL, PATIENT) as client:
            ranking = client.rank(user, ["aa", "aaaa", "a", "bb"])
            scored = client.score(client.encode_user(user), ["aa", "aaaa", "a", "bb"])
    assert ranking.items == scored.items == ("aaaa", "aa", "bb", "a")
    np.testing.assert_allclose(ranking.scores, [0.4, 0.2, 0.2, 0.1])
    assert seen[0] == seen[1]
    assert seen[0] == FakeRequest(
        User("", ["i1", "i2"], {"gender": None, "age": 34.5}), ("aa", "aaaa", "a", "bb"), 4, {}
    )


def test_labels_move_and_states_follow_their_label(fake, client):
    fake.add_version(2)
    fake.set_label("stable", 1)
    assert client.rank(USER, items(3)).model_version == 2
    assert client.rank(USER, items(3), label="stable").model_version == 1
    state = client.encode_user(USER, label="stable")
    assert (state.version, state.label) == (1, "stable")
    fake.add_version(3)
    fake.set_label("stable", 2)
    assert client.score(state, items(3)).model_version == 1
    fake.remove_version(1)
    # Encoded anew by the label, not by the newest version.
    scored = client.score(state, items(3))
    assert (scored.model_version, scored.state.label) == (2, "stable")
    assert client.rank(USER, items(3), label="stable").model_version == 2


def test_calls_are_counted(fake, client):
    for _ in range(3):
        client.rank(USER, items(3))
    client.score(client.encode_user(USER), items(3))
    assert fake.calls == {"GetModelMetadata": 1, "rank": 3, "user_tower": 1, "candidate": 1}


def test_failures_end_after_their_times(fake, client):
    fake.fail("INTERNAL", times=2, details="boom")
    for _ in range(2):
        with pytest.raises(ServerError, match="boom"):
            client.model_status()
    assert client.model_status().available == (1,)


def test_a_state_sent_to_another_version_is_noticed(fake):
    """What the client never does, done by hand."""
    fake.add_version(2)
    with RankingClient(fake.target, MODEL, PATIENT) as client:
        state = client.encode_user(USER, version=1)
    inputs = {**state.tensors, "candidate_item_id": string_tensor(["i1"], (1, 1))}
    code, details = ask(fake, predict_request(MODEL, "candidate", Selector(version=2), inputs, []))
    assert (code, details) == ("INTERNAL", "a state of version 1 was sent to version 2")


@pytest.mark.parametrize(
    ("change", "details"),
    [
        ({"age": None}, "Missing but required: ['age']"),
        ({"gendr": string_tensor(["f"], (1,))}, "Sent extra: ['gendr']"),
        ({"age": number_tensor([3], "int64")}, "Expected age to be float32, got int64"),
        ({"age": number_tensor([[3.0]], "float32")}, "age of shape [1, 1] does not fit [None]"),
        ({"user_id": string_tensor(["a", "b"], (2,))}, "user_id of shape [2] does not fit [None], B = 1"),
    ],
)
def test_bad_tensors_are_refused_as_tensorflow_serving_does(fake, change, details):
    inputs = {
        "user_id": string_tensor(["u"], (1,)),
        "history_item_id": string_tensor([""], (1, 1)),
        "gender": string_tensor(["f"], (1,)),
        "age": number_tensor([3.0], "float32"),
        "candidate_item_id": string_tensor(["i1"], (1, 1)),
    }
    given = {name: tensor for name, tensor in (inputs | change).items() if tensor is not None}
    code, words = ask(fake, predict_request(MODEL, "rank", Selector(), given, ["score"]))
    assert code == "INVALID_ARGUMENT"
    assert details in words


# No text at all in base64, characters beyond ASCII, bytes that are no text.
NO_BASE64 = (b"!", b"\xc3\xbc", b"/w==")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b"[1]", b'{"inputs": {}}', b'{"signature_name": "rank", "inputs": [1]}']
    + [
        b'{"signature_name": "rank", "inputs": {"gender": [{"b64": "%b"}]}}' % text
        for text in (b"!", b"\xc3\xbc", b"/w==")
    ],
    ids=lambda body: f"{body!r:.40}",
)
def test_a_body_that_is_no_request_is_a_bad_request(fake, body, caplog):
    with pytest.raises(urllib.error.HTTPError, match="400") as error:
        urllib.request.urlopen(f"http://{fake.rest_target}/v1/models/{MODEL}:predict", body, timeout=60)
    assert json.loads(error.value.read())["error"]
    # No traceback: the mistake is the client's.
    assert not caplog.records


def test_unknown_signatures_and_outputs_are_refused(fake):
    assert ask(fake, predict_request(MODEL, "rang", Selector(), {}, []))[0] == "FAILED_PRECONDITION"
    user = {
        "user_id": string_tensor(["u"], (1,)),
        "history_item_id": string_tensor([""], (1, 1)),
        "gender": string_tensor(["f"], (1,)),
        "age": number_tensor([3.0], "float32"),
    }
    code, details = ask(fake, predict_request(MODEL, "user_tower", Selector(), user, ["socks"]))
    assert (code, details) == ("INVALID_ARGUMENT", "output tensor alias not found in signature: socks")


def ask(fake, request):
    """Code and details of one raw call."""

    with grpc.insecure_channel(fake.target) as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=30)
    return error.value.code().name, error.value.details()


def test_the_last_version_may_go(fake, client):
    client.rank(USER, items(3))
    state = client.encode_user(USER)
    fake.remove_version(1)
    for call in (
        lambda: client.rank(USER, items(3)),
        lambda: client.encode_user(USER),
        lambda: client.score(state, items(3)),
    ):
        with pytest.raises(ModelNotFound, match="has no model 'conformance' that is ready"):
            call()
    fake.add_version(2)
    assert client.score(state, items(3)).model_version == 2


def test_split_lists_of_a_removed_version_are_named(fake, kind):
    options = ClientOptions(deadline=30.0, max_candidates_per_call=2)
    target = fake.rest_target if kind == "rest" else fake.target
    with CLIENTS[kind](target, MODEL, options) as client:
        assert client.rank(USER, items(9), version=1).model_version == 1
        fake.add_version(2)
        fake.remove_version(1)
        with pytest.raises(VersionNotFound, match=r"version 1 of model 'conformance'.*2 AVAILABLE"):
            client.rank(USER, items(9), version=1)
        assert client.rank(USER, items(9)).model_version == 2
        with pytest.raises(BadRequest, match="not both"):
            client.rank(USER, items(9), version=1, label="x")
