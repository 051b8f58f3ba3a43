"""What retrieving and recommending are, on every server with every client."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.client import BadRequest, ClientOptions, VersionNotFound
from serving.client.text import shown
from tests.serving.client.servers import CATALOGUE, MODEL, RANKED, USER, connect, items


@pytest.fixture(params=["retrieve", "recommend"])
def stage(request):
    """The name of a method."""
    return request.param


def test_a_page_is_sorted_and_names_its_version(client, stage):
    page = getattr(client, stage)(USER, 12)
    assert page.model_version == 1
    assert len(page) == len(set(page.items)) == 12
    assert set(page.items) <= set(CATALOGUE)
    assert list(page.scores) == sorted(page.scores, reverse=True)
    assert page.scores.dtype == np.float32
    assert [entry.item for entry in page] == list(page.items)
    assert page[:3] == list(page)[:3]
    assert page[-1] == list(page)[-1]
    assert repr(page).startswith(f"<{type(page).__name__} of 12 items by version 1, best '{page.items[0]}' ")


def test_one_call_is_retrieving_and_ranking_by_the_same_version(client):
    retrieval, page = client.retrieve(USER, RANKED), client.recommend(USER, 10)
    ranking = client.rank(USER, retrieval.items, version=retrieval.model_version)
    assert page.items == ranking.items[:10]
    assert page.items != retrieval.items[:10], "the stages must differ, or the test sees nothing"
    np.testing.assert_allclose(page.scores, ranking.scores[:10], atol=1e-6)
    for entry in page:
        assert retrieval.items[entry.retrieval_rank - 1] == entry.item
        np.testing.assert_allclose(retrieval[entry.retrieval_rank - 1].score, entry.retrieval_score, atol=1e-5)
    assert page.retrieval_ranks.dtype == np.int32
    assert page.objectives == {}


def test_all_of_the_catalogue_may_be_asked_for(client):
    assert set(client.retrieve(USER, len(CATALOGUE)).items) == set(CATALOGUE)
    assert set(client.recommend(USER, RANKED).items) == set(client.retrieve(USER, RANKED).items)


def test_excluded_items_leave_their_places_to_others(client, stage):
    ask = getattr(client, stage)
    whole = client.retrieve(USER, len(CATALOGUE)).items
    # None of them is in the catalogue, or an id at all.
    assert list(ask(USER, 5, exclude=["nobody", "", "é"])) == list(ask(USER, 5))
    unwanted = {*whole[:7], *ask(USER, 5).items}
    page = ask(USER, 5, exclude=[*unwanted, *unwanted])
    assert len(page) == 5
    assert not unwanted & set(page.items)
    retrieved = client.retrieve(USER, 5, exclude=iter(sorted(unwanted))).items
    assert retrieved == tuple(item for item in whole if item not in unwanted)[:5]


def test_the_history_may_be_excluded(client, stage):
    ask = getattr(client, stage)
    user = USER | {"history_item_id": ["", *client.retrieve(USER, 10).items]}
    had = set(client.retrieve(user, len(CATALOGUE)).items) & set(user["history_item_id"])
    assert len(had) == 10, "an item of the history is in the answer unless it is excluded"
    page = ask(user, 15, exclude_history=True, exclude=["i59"])
    assert not {*had, "i59"} & set(page.items)
    assert list(page) == list(ask(user, 15, exclude=[*had, "i59"]))


def test_all_of_a_long_history_is_excluded(server, kind, stage):
    history = items(40)
    with connect(kind, server, ClientOptions(deadline=30.0, max_history=2)) as client:
        page = getattr(client, stage)(USER | {"history_item_id": history}, 15, exclude_history=True)
    assert not set(history) & set(page.items)


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_filter_that_leaves_little_gives_a_short_page(client, stage, left):
    ask = getattr(client, stage)
    page = ask(USER, 5, exclude=CATALOGUE[left:])
    assert sorted(page.items) == CATALOGUE[:left]
    assert len(page.scores) == left
    assert page.model_version == 1
    assert repr(page).startswith(f"<{type(page).__name__} of {left} items by version 1")
    everything = USER | {"history_item_id": CATALOGUE}
    assert len(ask(everything, 5, exclude_history=True)) == 0


def test_nobody_is_answered_too(client, stage):
    nobody = {"user_id": "", "history_item_id": [], "gender": None, "age": None}
    stranger = nobody | {"user_id": "never seen"}
    for user in (nobody, stranger):
        assert len(getattr(client, stage)(user, 5, exclude_history=True)) == 5


@pytest.mark.parametrize("other", [{"user_id": ""}, {"history_item_id": ["i3"]}, {"gender": None}, {"age": 7}], ids=str)
def test_every_input_reaches_the_model(client, stage, other):
    one, two = (sorted(getattr(client, stage)(user, RANKED).scores.tolist()) for user in (USER, USER | other))
    assert not np.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "k must be at least 1, and at most the items of the catalogue; got 0"),
        (-3, "got -3"),
        (2**31, "got 2147483648"),
        (10**5000, "got too long to show"),
        (True, "k must be an int, the number of items wanted; got bool True"),
        (2.5, "got float 2.5"),
        ("3", "got str '3'"),
        (None, "got NoneType None"),
    ],
    ids=shown,
)
def test_a_wrong_k_is_named(client, stage, k, message):
    with pytest.raises(BadRequest, match=message) as error:
        getattr(client, stage)(USER, k)
    assert (error.value.field, error.value.code) == ("k", None)


def test_more_than_there_can_be_is_refused_and_the_server_goes_on(client):
    for name, most in (("retrieve", len(CATALOGUE)), ("recommend", RANKED)):
        ask = getattr(client, name)
        for k in (most + 1, 2**31 - 1):
            with pytest.raises(BadRequest, match=f"'{name}' of model .*k must be from 1 to {most}") as error:
                ask(USER, k)
            assert error.value.code == "INVALID_ARGUMENT"
        assert len(ask(USER, np.int64(most))) == most


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ("i1", "exclude must be a list of item ids, got str 'i1'"),
        (["i1", None], r"exclude\[1\] must be a string"),
        (["\ud83d"], r"exclude\[0\] is no text"),
    ],
    ids=shown,
)
def test_wrong_exclusions_are_named(client, stage, exclude, message):
    with pytest.raises(BadRequest, match=message) as error:
        getattr(client, stage)(USER, 3, exclude=exclude)
    assert error.value.field == "exclude"


def test_a_wrong_user_is_named(client, stage):
    for change, field in (
        ({"gendr": "f"}, "gendr"),
        ({"k": 3}, "k"),
        ({"history_item_id": ["i1", 2]}, "history_item_id"),
    ):
        with pytest.raises(BadRequest) as error:
            getattr(client, stage)(USER | change, 3, exclude_history=True)
        assert (error.value.field, error.value.code) == (field, None)


def test_objectives_that_the_model_lacks_are_refused(client):
    with pytest.raises(BadRequest, match="has no objectives beside its score"):
        client.recommend(USER, 3, objectives=True)


def test_requests_at_once_get_their_own_pages(server, kind, stage):
    """Where the server batches them, each is padded to the longest, and cut back to its own k."""
    requests = [
        (USER | {"history_item_id": items(n % 5)}, 1 + n % 9, CATALOGUE[: 7 * (n % 9)], bool(n % 2)) for n in range(40)
    ]
    with connect(kind, server) as client, ThreadPoolExecutor(8) as pool:

        def ask(request):
            user, k, exclude, history = request
            return getattr(client, stage)(user, k, exclude=exclude, exclude_history=history)

        alone = list(map(ask, requests))
        together = list(pool.map(ask, requests))
    for one, other, (_, k, exclude, _) in zip(alone, together, requests, strict=True):
        assert other.items == one.items
        np.testing.assert_allclose(other.scores, one.scores, atol=1e-5)
        assert len(one) <= k
        assert not set(exclude) & set(one.items)


def test_both_calls_can_be_pinned_to_one_version(server, client):
    server.set_versions(1, 2)
    newest, old = client.retrieve(USER, RANKED), client.retrieve(USER, RANKED, version=1)
    assert (newest.model_version, old.model_version) == (2, 1)
    assert newest.items != old.items
    assert client.recommend(USER, 5).model_version == 2
    page = client.recommend(USER, 5, version=1)
    ranking = client.rank(USER, old.items, version=old.model_version)
    assert (page.model_version, ranking.model_version) == (1, 1)
    assert page.items == ranking.items[:5]
    server.set_versions(2)
    # Between the two calls their version has gone: an error, and never a ranking by another model.
    with pytest.raises(VersionNotFound, match=r"version 1 of model.*2 AVAILABLE") as error:
        client.rank(USER, old.items, version=old.model_version)
    assert error.value.available == (2,)
    again = client.retrieve(USER, RANKED)
    assert client.rank(USER, again.items, version=again.model_version).items[:5] == client.recommend(USER, 5).items


def test_an_unknown_version_is_named_with_those_that_exist(client, stage):
    for choice, words in (({"version": 9}, "version 9"), ({"label": "canary"}, "label 'canary'")):
        with pytest.raises(VersionNotFound, match=f"{words} of model.*1 AVAILABLE"):
            getattr(client, stage)(USER, 3, **choice)


def posted(server, signature: str, **changes):
    """The JSON that answers a body of any client's own making."""
    inputs = {name: [value] for name, value in USER.items()} | {"k": [2], "exclude_item_id": [[]]} | changes
    body = {"signature_name": signature, "inputs": {name: value for name, value in inputs.items() if value is not None}}
    url = f"http://{server.rest_target}/v1/models/{MODEL}:predict"
    with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=60) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize(
    "changes",
    [
        {"k": [2.5]},
        {"k": ["3"]},
        {"k": [[3]]},
        {"k": 3},
        {"k": [0]},
        {"k": [2**40]},
        {"k": None},
        {"exclude_item_id": None},
        {"exclude_item_id": ["i1"]},
        {"exclude_item_id": [[1]]},
    ],
    ids=str,
)
def test_a_body_that_asks_for_no_page_is_refused_and_the_server_goes_on(server, stage, changes):
    with pytest.raises(urllib.error.HTTPError, match="400") as error:
        posted(server, stage, **changes)
    assert json.loads(error.value.read())["error"]
    # E is 0 here.
    assert len(posted(server, stage)["outputs"]["item_id"][0]) == 2
