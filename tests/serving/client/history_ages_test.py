"""Ages of history items between the client and the fake server."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from serving.client import (
    AsyncRankingClient,
    BadRequest,
    ClientOptions,
    RankingClient,
    RestRankingClient,
    User,
    UserState,
)
from serving.testing import FakeRankingServer

ITEMS = [f"i{n}" for n in range(5)]
FEATURES = {"age": "float32"}
USER = User("u1", ["i1", "", "i2"], {"age": 3.0}, [86400.5, 7.0, None])
OPTIONS = ClientOptions(deadline=30.0)


@pytest.fixture(scope="module")
def asked():
    """Users that the fake's scorer was asked about, the last at the end."""
    return []


@pytest.fixture(scope="module")
def fake(asked):
    def scorer(request):
        asked.append(request.user)
        return [0.5] * len(request.candidates)

    with FakeRankingServer(features=FEATURES, history_ages=True, scorer=scorer) as server:
        yield server


@pytest.fixture(params=["grpc", "rest"])
def client(request, fake):
    kind, target = (RankingClient, fake.target) if request.param == "grpc" else (RestRankingClient, fake.rest_target)
    with kind(target, "dmf", OPTIONS) as made:
        yield made


def test_metadata_names_them_apart(client):
    found = client.metadata()
    assert found.history_ages and found.features == FEATURES and found.columns == {}


def test_each_item_comes_with_its_age(client, asked):
    client.rank(USER, ITEMS)
    # "" is padding, and its age too.
    assert (asked[-1].history, asked[-1].history_age_s) == (("i1", "i2"), (86400.5, None))
    state = UserState.from_bytes(client.encode_user(USER).to_bytes())
    client.score(state, ITEMS)
    assert (asked[-1].history, asked[-1].history_age_s) == (("i1", "i2"), (86400.5, None))


def test_asyncio_and_mappings(fake, asked):
    async def ask(ages):
        async with AsyncRankingClient(fake.target, "dmf", OPTIONS) as made:
            await made.rank({"user_id": "u", "history_item_id": ["a", "b"], "age": 1, "history_age_s": ages}, ITEMS)
        return asked[-1].history_age_s

    assert asyncio.run(ask([1, 2.5])) == (1.0, 2.5)
    assert asyncio.run(ask(np.array([math.nan, 4], np.float32))) == (None, 4.0)
    assert asyncio.run(ask((None, None))) == (None, None)


def test_the_most_recent_are_kept_with_their_ages(fake, asked):
    user = User("u1", ["i1", "i2", "i3"], {"age": 3.0}, [30, 20, 10])
    for most, ages in ((1, (10.0,)), (2, (20.0, 10.0)), (9, (30.0, 20.0, 10.0))):
        with RankingClient(fake.target, "dmf", ClientOptions(deadline=30.0, max_history=most)) as made:
            made.rank(user, ITEMS)
        assert asked[-1].history_age_s == ages


def test_a_state_keeps_the_ages():
    for ages in (None, [], [1.5, None]):
        user = User("u", ["a", "b"][: len(ages or ())], {}, ages)
        again = UserState.from_bytes(UserState("dmf", 1, {}, user).to_bytes()).user
        assert list(again.history_age_s or ()) == list(ages or ())


def test_a_model_without_them_does_not_take_them():
    with FakeRankingServer(features=FEATURES) as server, RankingClient(server.target, "dmf", OPTIONS) as made:
        with pytest.raises(BadRequest, match="does not take the ages of history items") as refused:
            made.rank(USER, ITEMS)
        assert refused.value.field == "history_age_s"
        assert not made.metadata().history_ages


def test_a_feature_may_have_that_name_where_there_are_no_ages():
    named = {"history_age_s": "float32"}
    user = {"user_id": "u", "history_item_id": ["a"], "history_age_s": 3.5}
    with FakeRankingServer(features=named) as server, RankingClient(server.target, "dmf", OPTIONS) as made:
        assert made.metadata().features == named
        made.rank(user, ITEMS)


@pytest.mark.parametrize("ages", ["1", b"1", {"i1": 1}, 5])
def test_what_is_no_list_is_refused(ages):
    with pytest.raises(BadRequest) as refused:
        User("u", ["i1"], {}, ages)
    assert refused.value.field == "history_age_s"


@pytest.mark.parametrize("ages", ["1", 5.0, {"i1": 1}])
def test_what_is_no_list_is_told_apart_from_nothing(client, ages):
    user = {"user_id": "u", "history_item_id": ["a", "b"], "age": 1, "history_age_s": ages}
    with pytest.raises(BadRequest, match=f"must be a list of 2 numbers, .* got {type(ages).__name__}") as refused:
        client.rank(user, ITEMS)
    assert refused.value.field == "history_age_s"


def test_the_fake_refuses_ages_that_do_not_fit(fake):
    from serving.client.tensors import number_tensor, string_tensor
    from serving.protos import predict_pb2
    from serving.testing.fake_model import FakeModel, FakeStatus, hash_scorer

    model = FakeModel("dmf", {}, {}, {1: hash_scorer}, history_ages=True)
    request = predict_pb2.PredictRequest(model_spec={"name": "dmf", "signature_name": "user_tower"})
    request.inputs["user_id"].CopyFrom(string_tensor(["u"], (1,)))
    request.inputs["history_item_id"].CopyFrom(string_tensor(["", "a"], (1, 2)))
    request.inputs["history_age_s"].CopyFrom(number_tensor([[1.0]], "float32"))
    with pytest.raises(FakeStatus, match="history_age_s: 1 ages for 2 history items"):
        model.predict(request)
