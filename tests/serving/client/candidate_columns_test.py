"""Candidate columns between the client and the fake server."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from serving.client import AsyncRankingClient, BadRequest, ClientOptions, RankingClient, RestRankingClient, User
from serving.client.requests import _tensor
from serving.contract import TensorContract
from serving.testing import FakeRankingServer

COLUMNS = {"price": "float32", "badge": "string"}
USER = User("u1", ["i1"], {"age": 3.0})
ITEMS = [f"i{n}" for n in range(7)]
VALUES = {"price": [1.5, None, 3, 0.0, np.float32(2), -1, 7], "badge": ["new", None, "", "ä", "b", "c", "d"]}


@pytest.fixture(scope="module")
def fake():
    with FakeRankingServer(features={"age": "float32"}, content={"text": 2}, columns=COLUMNS) as server:
        yield server


@pytest.fixture(params=["grpc", "rest"])
def client(request, fake):
    options = ClientOptions(deadline=30.0)
    if request.param == "grpc":
        with RankingClient(fake.target, "dmf", options) as made:
            yield made
    else:
        with RestRankingClient(fake.rest_target, "dmf", options) as made:
            yield made


def part(places: list[int]) -> dict:
    return {name: [values[place] for place in places] for name, values in VALUES.items()}


def test_metadata_names_them_apart_from_the_users_features(client):
    assert client.metadata().columns == {"badge": "string", "price": "float32"}
    assert client.metadata().features == {"age": "float32"}


def test_every_way_sends_each_value_with_its_candidate(client, fake):
    whole = client.rank(USER, ITEMS, columns=VALUES).scores_in_request_order
    order = [3, 0, 6, 2, 1, 5, 4]
    mixed = client.rank(USER, [ITEMS[place] for place in order], columns=part(order)).scores_in_request_order
    np.testing.assert_array_equal(mixed, whole[order])
    with RankingClient(fake.target, "dmf", ClientOptions(deadline=30.0, max_candidates_per_call=3)) as paging:
        pages = paging.rank(USER, ITEMS, columns=VALUES)
        np.testing.assert_array_equal(pages.scores_in_request_order, whole)
        content = {"text": np.zeros((7, 2))}
        carried = paging.score(paging.encode_user(USER), ITEMS, columns=VALUES, content=content)
        np.testing.assert_array_equal(carried.scores_in_request_order, whole)
    other = client.rank(USER, ITEMS, columns={**VALUES, "badge": ["other", *VALUES["badge"][1:]]})
    assert (other.scores_in_request_order != whole).tolist() == [True] + [False] * 6


def test_an_array_is_a_list_of_values(client):
    price = np.array([1.5, np.nan, 3, 0.0, 2, -1, 7], np.float32)
    found = client.rank(USER, ITEMS, columns={**VALUES, "price": price}).scores_in_request_order
    np.testing.assert_array_equal(found, client.rank(USER, ITEMS, columns=VALUES).scores_in_request_order)


def test_asyncio(fake):
    async def ask():
        async with AsyncRankingClient(fake.target, "dmf", ClientOptions(deadline=30.0)) as made:
            ranked = await made.rank(USER, ITEMS, columns=VALUES)
            scored = await made.score(await made.encode_user(USER), ITEMS, columns=VALUES)
            return ranked.scores_in_request_order, scored.scores_in_request_order

    ranked, scored = asyncio.run(ask())
    np.testing.assert_array_equal(ranked, scored)


@pytest.mark.parametrize(
    ("columns", "field", "words"),
    [
        ({}, "columns['badge']", "column 'badge' (string) is missing; column 'price' (float32) is missing"),
        ({"price": VALUES["price"]}, "columns['badge']", "give a list in `columns`, one value for each candidate"),
        (part([0, 1, 2]), "columns['price']", "must have 7 values, one for each candidate; got 3"),
        ({**VALUES, "prise": [1] * 7}, "columns['prise']", "unknown column 'prise' (did you mean 'price'?)"),
        ({**VALUES, "age": [1] * 7}, "columns['age']", "unknown column 'age'"),
        ({**VALUES, "price": [True] * 7}, "columns['price']", "columns['price'][0] must be a number or None, got bool"),
        ({**VALUES, "badge": ["x"] * 6 + [3]}, "columns['badge']", "columns['badge'][6] must be a string or None"),
        ({**VALUES, "badge": ["\ud800"] * 7}, "columns['badge']", "columns['badge'][0]"),
        ({**VALUES, "price": 3}, "columns['price']", "must be a list, got int 3"),
        ({**VALUES, "price": np.float32(3)}, "columns['price']", "must be a list, got float32"),
        ({**VALUES, "price": np.array(3)}, "columns['price']", "must be a list, got ndarray array(3)"),
        (
            {**VALUES, "price": np.ones((7, 2))},
            "columns['price']",
            "columns['price'][0] must be a number or None, got list",
        ),
        ("price", "columns", "must map names to lists of values, got str"),
    ],
)
@pytest.mark.parametrize("kept", [False, True])
def test_refused_before_anything_is_sent(client, fake, columns, field, words, kept):
    state = client.encode_user(USER)
    calls = fake.calls["rank"], fake.calls["candidate"]
    with pytest.raises(BadRequest) as refused:
        client.score(state, ITEMS, columns=columns) if kept else client.rank(USER, ITEMS, columns=columns)
    assert refused.value.field == field
    assert words in str(refused.value)
    assert (fake.calls["rank"], fake.calls["candidate"]) == calls


def test_filled_where_asked_for(fake):
    missing = {name: [None] * 7 for name in COLUMNS}
    with RankingClient(fake.target, "dmf", ClientOptions(deadline=30.0, fill_missing=True)) as filling:
        found = filling.rank(USER, ITEMS).scores_in_request_order
        np.testing.assert_array_equal(found, filling.rank(USER, ITEMS, columns=missing).scores_in_request_order)


def test_a_model_that_takes_none_says_so():
    with FakeRankingServer() as plain, RankingClient(plain.target, "dmf", ClientOptions(deadline=30.0)) as made:
        with pytest.raises(BadRequest, match="unknown column 'price'; the model takes no columns of candidates"):
            made.rank(User("u1", []), ["i1"], columns={"price": [1.0]})
        assert made.metadata().columns == {}


@pytest.mark.parametrize(
    ("dtype", "plain", "other"),
    [
        ("float32", [1.5, None, 3, -(2**70), float("nan")], np.float64(1.5)),
        ("float16", [1.5, None, 65504], np.float32(1.5)),
        ("int64", [1, -(2**63), 2**63 - 1], np.int32(1)),
        ("string", ["new", None, "", "\N{SNOWMAN}"], np.str_("new")),
    ],
)
def test_values_as_a_whole_are_those_one_by_one(dtype, plain, other):
    """NumPy's own types are looked at one by one."""
    spec, shape = TensorContract(dtype, (None, None)), (1, len(plain))
    assert _tensor("x", plain, spec, shape) == _tensor("x", [other, *plain[1:]], spec, shape)


@pytest.mark.parametrize(
    ("dtype", "values", "words"),
    [
        ("float32", [1.0, 1e39], r"x\[1\] \(float32\) cannot be 1e\+39"),
        ("float32", [1.0, 10**400], r"x\[1\] \(float32\) cannot be"),
        ("float32", [1.0, True], r"x\[1\] must be a number or None, got bool"),
        ("int32", [1, 2**31], r"x\[1\] \(int32\) cannot be 2147483648"),
        ("int64", [1, 2**63], r"x\[1\] \(int64\) cannot be"),
        ("int64", [1, None], r"x\[1\] \(int64\) cannot be None"),
        ("string", ["a", "\ud800"], r"x\[1\] is no text"),
        ("string", ["a", 3], r"x\[1\] must be a string or None, got int"),
    ],
)
def test_the_value_that_is_wrong_is_named(dtype, values, words):
    with pytest.raises(BadRequest, match=words):
        _tensor("x", values, TensorContract(dtype, (None, None)), (1, len(values)))
