"""Further histories between the client and the fake server."""

from __future__ import annotations

import pytest

from serving import contract
from serving.client import BadRequest, ClientOptions, RankingClient, RestRankingClient, User, UserState
from serving.export.servable import request_arrays
from serving.testing import FakeRankingServer

ITEMS = [f"i{n}" for n in range(5)]
OPTIONS = ClientOptions(deadline=30.0)
USER = User(
    "u1",
    ["i1"],
    {"age": 3.0},
    [7.0],
    {"buys": ["i2", "", "i3"], "carts": []},
    {"buys": [9.0, 1.0, None], "carts": []},
)
MAPPING = {
    "user_id": "u1",
    "history_item_id": ["i1"],
    "history_age_s": [7.0],
    "age": 3.0,
    "history/buys/item_id": ["i2", "", "i3"],
    "history/buys/age_s": [9.0, 1.0, None],
    "history/carts/item_id": [],
    "history/carts/age_s": [],
}


@pytest.fixture(scope="module")
def asked():
    """Users that the fake's scorer was asked about, the last at the end."""
    return []


@pytest.fixture(scope="module")
def fake(asked):
    def scorer(request):
        asked.append(request.user)
        return [0.5] * len(request.candidates)

    names = ("buys", "carts")
    with FakeRankingServer(features={"age": "float32"}, history_ages=True, further_histories=names, scorer=scorer) as s:
        yield s


@pytest.fixture(params=["grpc", "rest"])
def client(request, fake):
    kind, target = (RankingClient, fake.target) if request.param == "grpc" else (RestRankingClient, fake.rest_target)
    with kind(target, "dmf", OPTIONS) as made:
        yield made


def test_metadata_names_them_apart(client):
    found = client.metadata()
    assert found.further_histories == ("buys", "carts")
    assert found.features == {"age": "float32"} and not found.lists and not found.columns


@pytest.mark.parametrize("user", [USER, MAPPING], ids=["user", "mapping"])
def test_each_comes_with_its_ages(client, asked, user):
    client.rank(user, ITEMS)
    first = asked[-1]
    assert first.histories == {"buys": ("i2", "i3"), "carts": ()} and first.history == ("i1",)
    assert first.histories_age_s["buys"] == (9.0, None)
    kept = UserState.from_bytes(client.encode_user(user).to_bytes())
    client.score(kept, ITEMS)
    assert asked[-1] == first


def test_the_most_recent_are_kept_of_each(fake, asked):
    with RankingClient(fake.target, "dmf", ClientOptions(deadline=30.0, max_history=1)) as made:
        made.rank(USER, ITEMS)
    assert asked[-1].histories["buys"] == ("i3",) and asked[-1].histories_age_s["buys"] == (None,)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"history/buys/item_id": "i2"}, "history/buys/item_id"),
        ({"history/buys/item_id": ["i2", 3, "i3"]}, "history/buys/item_id"),
        ({"history/buys/age_s": [1.0]}, "history/buys/age_s"),
        ({"history/buys/age_s": ["1", 2, 3]}, "history/buys/age_s"),
        ({"history/buys/age_s": None}, "history/buys/age_s"),
        ({"history/bought/item_id": []}, "history/bought/item_id"),
        ({"history/buys/items": []}, "history/buys/items"),
    ],
)
def test_what_is_wrong_is_named(client, changed, field):
    with pytest.raises(BadRequest) as refused:
        client.rank({**MAPPING, **changed}, ITEMS)
    assert refused.value.field == field
    client.rank(MAPPING, ITEMS)


def test_one_that_is_absent_is_refused_or_filled(fake, client, asked):
    without = {name: value for name, value in MAPPING.items() if not name.startswith("history/carts")}
    with pytest.raises(BadRequest, match="lacks 'history/carts/item_id'"):
        client.rank(without, ITEMS)
    with RankingClient(fake.target, "dmf", ClientOptions(deadline=30.0, fill_missing=True)) as made:
        made.rank(without, ITEMS)
    assert asked[-1].histories["carts"] == ()


def test_a_model_of_one_history_takes_no_other():
    with (
        FakeRankingServer() as server,
        RankingClient(server.target, "dmf", OPTIONS) as made,
        pytest.raises(BadRequest, match="takes no history 'buys'; it takes none beside history_item_id"),
    ):
        made.rank(User("u1", ["i1"], histories={"buys": ["i2"]}), ITEMS)


def test_ages_without_items_are_refused():
    with pytest.raises(BadRequest, match="there is no history 'buys'"):
        User("u1", [], histories_age_s={"buys": [1.0]})
    with pytest.raises(BadRequest, match="histories must be a mapping"):
        User("u1", [], histories=["i1"])


def test_a_contract_of_one_history_is_written_as_before(tmp_path):
    old = contract.ModelContract("m", 5, {})
    assert "further" not in old.to_json()
    new = contract.ModelContract("m", 5, {}, further_histories={"buys": 3})
    (tmp_path / contract.CONTRACT_FILE).write_text(new.to_json())
    assert contract.ModelContract.read(tmp_path) == new
    request = {"user_id": "u", "candidate_item_id": ["a"], "history/buys/item_id": ["b"]}
    arrays = request_arrays(request, new)
    assert arrays["history/buys/item_id"].tolist() == [["b"]] and arrays["history_item_id"].shape == (1, 0)
    with pytest.raises(KeyError, match="unknown request keys"):
        request_arrays(request, old)
