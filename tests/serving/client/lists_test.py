"""Features of several values, against the fake server."""

from __future__ import annotations

import numpy as np
import pytest

from serving.client import (
    BadRequest,
    ClientOptions,
    RankingClient,
    RestRankingClient,
    SignatureNotFound,
    User,
    UserState,
)
from serving.client.model_info import ModelMetadata, Signature
from serving.client.requests import user_tensors
from serving.client.tensors import to_array
from serving.contract import TensorContract
from serving.testing import FakeRankingServer

FEATURES = {"interests": "string", "age": "float32"}
ITEMS = ["i1", "i2", "i3"]
HALF = "\ud83d"


@pytest.fixture
def seen():
    return []


@pytest.fixture
def server(seen):
    def scorer(request):
        seen.append(request.user)
        return [0.5] * len(request.candidates)

    with FakeRankingServer(features=FEATURES, lists=["interests"], scorer=scorer) as server:
        yield server


@pytest.fixture(params=[RankingClient, RestRankingClient], ids=["grpc", "rest"])
def client(request, server):
    target = server.target if request.param is RankingClient else server.rest_target
    with request.param(target, "dmf", ClientOptions(deadline=30.0)) as client:
        yield client


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (["chess", "tea"], ["chess", "tea"]),
        (("chess",), ["chess"]),
        (np.array(["chess", "tea"]), ["chess", "tea"]),
        (["chess", "", None, "chess"], ["chess", "chess"]),
        ([], []),
        (None, []),
    ],
)
def test_they_arrive_with_rank_and_in_two_steps(client, seen, given, sent):
    user = User("u", ["i9"], {"interests": given, "age": 3.0})
    client.rank(user, ITEMS)
    state = UserState.from_bytes(client.encode_user(user).to_bytes())
    client.score(state, ITEMS)
    assert [user.features for user in seen] == [{"interests": sent, "age": 3.0}] * 2
    assert list(state.user.features["interests"] or []) == sent


def test_an_empty_list_is_kept_as_one():
    state = UserState("dmf", 1, {}, User("u", [], {"interests": [], "age": None}))
    assert UserState.from_bytes(state.to_bytes()).user.features == {"interests": [], "age": None}


def test_a_list_is_the_users_own():
    interests = ["tea"]
    user = User("u", [], {"interests": interests})
    interests.append("chess")
    assert user.features == {"interests": ["tea"]}


def test_the_model_says_which_are_lists(client):
    metadata = client.metadata()
    assert metadata.features == FEATURES and metadata.lists == {"interests"} and metadata.columns == {}


@pytest.mark.parametrize(
    ("features", "field", "words"),
    [
        ({"interests": "chess", "age": 1}, "interests", "must be a list of strings or None, got str 'chess'"),
        ({"interests": {"chess"}, "age": 1}, "interests", "must be a list of strings or None, got set"),
        ({"interests": 3, "age": 1}, "interests", "must be a list of strings or None, got int 3"),
        ({"interests": ["chess", 3], "age": 1}, "interests", "'interests'[1] must be a string or None, got int 3"),
        ({"interests": ["chess", ["tea"]], "age": 1}, "interests", "'interests'[1] must be a string or None, got list"),
        ({"interests": [HALF], "age": 1}, "interests", "feature 'interests'[0] is no text"),
        ({"interests": [], "age": [1.0]}, "age", "feature 'age' must be a number or None, got list [1.0]"),
        ({"age": 1}, "interests", "feature 'interests' (list of string) is missing"),
        ({"interest": [], "interests": [], "age": 1}, "interest", "did you mean 'interests'?"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(server, client, features, field, words):
    with pytest.raises(BadRequest) as refused:
        client.rank(User("u", [], features), ITEMS)
    assert refused.value.field == field and words in str(refused.value)
    assert set(server.calls) == {"GetModelMetadata"}


def test_a_missing_one_is_filled_when_asked_for(server, seen):
    with RankingClient(server.target, "dmf", ClientOptions(deadline=30.0, fill_missing=True)) as client:
        client.rank({"history_item_id": []}, ITEMS)
    assert seen[0].features == {"interests": [], "age": None}


def _metadata(dtype):
    inputs = {
        "user_id": TensorContract("string", (None,)),
        "history_item_id": TensorContract("string", (None, None)),
        "interests": TensorContract(dtype, (None, None)),
    }
    return ModelMetadata("dmf", 1, {"rank": Signature(inputs, {}), "user_tower": Signature(inputs, {})})


def test_every_list_begins_with_padding():
    """Batching servers pad with the first element."""
    tensors = user_tensors(User("u", [], {"interests": ["a", "b"]}), _metadata("string"), "rank", ClientOptions())
    assert to_array(tensors["interests"]).tolist() == [[b"", b"a", b"b"]]


def test_a_list_of_numbers_is_no_model_of_this_project():
    with pytest.raises(SignatureNotFound, match="feature 'interests' is a list of float32 in the model"):
        user_tensors(User("u", [], {"interests": [1.0]}), _metadata("float32"), "rank", ClientOptions())
