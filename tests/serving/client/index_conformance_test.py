"""What retrieving and recommending by an index beside the model are, on every server with every client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.client import BadRequest, ClientOptions, VersionNotFound, WrongIndex
from tests.serving.client.servers import CATALOGUE, MODEL, RANKED, USER, connect, items


@pytest.fixture
def index(server):
    """That of version 1."""
    return server.index(1)


def test_the_index_finds_what_the_server_finds(client, index):
    for k in (1, 7, len(CATALOGUE)):
        exact, found = client.retrieve(USER, k), client.retrieve(USER, k, index=index)
        assert (found.items, found.model_version) == (exact.items, 1)
        np.testing.assert_allclose(found.scores, exact.scores, atol=1e-5)
        assert found.scores.dtype == np.float32


def test_a_page_by_the_index_is_the_servers_page(client, index):
    for k in (1, 5, RANKED):
        exact, page = client.recommend(USER, k), client.recommend(USER, k, index=index)
        assert (page.items, page.model_version, page.objectives) == (exact.items, 1, {})
        np.testing.assert_allclose(page.scores, exact.scores, atol=1e-6)
        np.testing.assert_allclose(page.retrieval_scores, exact.retrieval_scores, atol=1e-5)
        assert page.retrieval_ranks.dtype == np.int32
    # By hand, from the same index.
    retrieval = client.retrieve(USER, RANKED, index=index)
    ranking = client.rank(USER, retrieval.items, version=retrieval.model_version)
    assert page.items == ranking.items
    assert [retrieval.items[rank - 1] for rank in page.retrieval_ranks] == list(page.items)
    with pytest.raises(ValueError, match="read-only"):
        page.retrieval_ranks[0] = 0


@pytest.mark.parametrize("stage", ["retrieve", "recommend"])
def test_exclusion_is_that_of_the_server(client, index, stage):
    ask = getattr(client, stage)
    user = USER | {"history_item_id": ["", *client.retrieve(USER, 10).items]}
    for choice in (
        {"exclude_history": True},
        {"exclude": ["nobody", "", *CATALOGUE[:30]]},
        {"exclude": CATALOGUE[3:], "exclude_history": True},
        {"exclude": CATALOGUE},
    ):
        assert ask(user, 15, index=index, **choice).items == ask(user, 15, **choice).items


def test_nobody_is_answered_too(client, index):
    nobody = {"user_id": "", "history_item_id": [], "gender": None, "age": None}
    for user in (nobody, nobody | {"user_id": "never seen"}):
        assert client.recommend(user, 5, index=index).items == client.recommend(user, 5).items


@pytest.mark.parametrize(
    ("stage", "k", "most"), [("retrieve", 61, "60, the items of the index"), ("recommend", 21, "20, the candidates")]
)
def test_more_than_there_can_be_is_refused(client, index, stage, k, most):
    with pytest.raises(BadRequest, match=f"k must be from 1 to {most}.*; got {k}") as error:
        getattr(client, stage)(USER, k, index=index)
    assert (error.value.field, error.value.code) == ("k", None)
    with pytest.raises(BadRequest, match="k must be at least 1"):
        getattr(client, stage)(USER, 0, index=index)
    with pytest.raises(BadRequest, match="index must be an ApproximateIndex, got str") as error:
        getattr(client, stage)(USER, 3, index="here")
    assert error.value.field == "index"


@pytest.mark.parametrize("stage", ["retrieve", "recommend"])
def test_an_index_of_another_version_is_a_typed_error_and_the_server_goes_on(server, client, index, stage):
    ask = getattr(client, stage)
    server.set_versions(1, 2)
    with pytest.raises(
        WrongIndex, match=rf"version 2 of model '{MODEL}' is of catalogue \w+, the index from .* of"
    ) as e:
        ask(USER, 3, index=index)
    assert (e.value.model_version, e.value.index) == (2, index)
    assert e.value.catalogue != index.record.catalogue
    assert index.record.catalogue in str(e.value) and e.value.catalogue in str(e.value)
    with pytest.raises(WrongIndex, match="version 1 of model"):
        ask(USER, 3, index=server.index(2), version=1)
    # The version that it was made for, and the newest with its own.
    assert ask(USER, 3, index=index, version=1).model_version == 1
    assert ask(USER, 3, index=server.index(2)).model_version == 2
    assert ask(USER, 3).model_version == 2
    server.set_versions(2)
    with pytest.raises(VersionNotFound, match=r"version 1 of model.*2 AVAILABLE"):
        ask(USER, 3, index=index, version=1)


def test_requests_at_once_get_their_own_pages(server, kind, index):
    users = [USER | {"history_item_id": items(n % 7)} for n in range(24)]
    with connect(kind, server) as client, ThreadPoolExecutor(8) as pool:
        alone = [client.recommend(user, 5) for user in users]
        together = list(pool.map(lambda user: client.recommend(user, 5, index=index), users))
    assert [page.items for page in together] == [page.items for page in alone]


def test_a_page_may_be_ranked_in_parts(server, kind, index):
    with connect(kind, server, ClientOptions(deadline=30.0, max_candidates_per_call=6)) as client:
        assert client.recommend(USER, 9, index=index).items == client.recommend(USER, 9).items
