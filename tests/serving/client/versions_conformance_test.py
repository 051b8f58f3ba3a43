"""Version safety, on every server with every client: no score ever comes of two versions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.client import ClientOptions, RetryOptions, UserState, VersionNotFound
from tests.serving.client.servers import USER, connect, items

SMALL_PAGES = ClientOptions(deadline=30.0, max_candidates_per_call=7)


def scores_by_version(server, client, versions, candidates):
    """Scores of each version alone, in the order of the request."""
    scores = {}
    for version in versions:
        server.set_versions(version)
        scores[version] = client.rank(USER, candidates).scores_in_request_order
    first, second = list(scores.values())[:2]
    assert not np.allclose(first, second, atol=1e-3), "the versions must differ, or the test sees nothing"
    return scores


def test_the_newest_version_answers_and_others_can_be_named(server, client):
    expected = scores_by_version(server, client, (1, 2), items(5))
    server.set_versions(1, 2)
    assert client.rank(USER, items(5)).model_version == 2
    assert client.encode_user(USER).version == 2
    old = client.rank(USER, items(5), version=1)
    assert old.model_version == 1
    np.testing.assert_allclose(old.scores_in_request_order, expected[1], atol=1e-6)
    assert client.encode_user(USER, version=1).version == 1
    assert client.model_status().available == (2, 1)


def test_a_state_is_scored_by_its_version_while_a_newer_one_is_there(server, client):
    expected = scores_by_version(server, client, (2, 1), items(5))
    state = client.encode_user(USER)
    server.set_versions(1, 2)
    scored = client.score(state, items(5))
    assert (scored.model_version, scored.state) == (1, state)
    np.testing.assert_allclose(scored.scores_in_request_order, expected[1], atol=1e-6)


@pytest.mark.parametrize("count", [5, 30])
def test_a_state_whose_version_is_gone_is_encoded_anew(server, kind, client, count):
    expected = scores_by_version(server, client, (2, 1), items(count))
    state = client.encode_user(USER)
    server.set_versions(2)
    # Also from bytes, in a client that has not seen either version.
    with connect(kind, server, SMALL_PAGES) as other:
        for asked, kept in ((client, state), (other, UserState.from_bytes(state.to_bytes()))):
            scored = asked.score(kept, items(count))
            assert (kept.version, scored.model_version, scored.state.version) == (1, 2, 2)
            np.testing.assert_allclose(scored.scores_in_request_order, expected[2], atol=1e-6)
            again = asked.score(scored.state, items(count))
            assert again.state is scored.state


def test_a_split_list_of_a_named_version_is_never_scored_by_another(server, kind):
    server.set_versions(2)
    with connect(kind, server, SMALL_PAGES) as client, pytest.raises(VersionNotFound, match="version 1 of model"):
        client.rank(USER, items(30), version=1)


def test_versions_that_change_under_load_never_mix(server, kind):
    candidates = items(20)
    options = ClientOptions(deadline=30.0, max_candidates_per_call=7, retry=RetryOptions(max_attempts=20))
    with connect(kind, server) as client:
        expected = scores_by_version(server, client, (1, 2, 3), candidates)
    stop = threading.Event()
    seen, wrong = set(), []

    def ask(ranked: bool) -> int:
        calls, state = 0, None
        with connect(kind, server, options) as client:
            while not stop.is_set():
                if ranked:
                    ranking = client.rank(USER, candidates)
                else:
                    ranking = client.score(state or client.encode_user(USER), candidates)
                    state = ranking.state
                seen.add(ranking.model_version)
                if not np.allclose(ranking.scores_in_request_order, expected[ranking.model_version], atol=1e-6):
                    wrong.append(ranking)
                calls += 1
        return calls

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(ask, ranked) for ranked in (True, True, False, False)]
        try:
            # To newer ones and back to an older one: a real server takes seconds to load each.
            for version in (1, 2, 3, 1):
                server.set_versions(version)
                stop.wait(0.3)
        finally:
            stop.set()
        assert all(asker.result() > 0 for asker in askers)
    assert wrong == []
    assert len(seen) > 1
