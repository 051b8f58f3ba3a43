"""Servers that are not there, die, come back or are slow: typed errors in time, on every server with every client."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.client import (
    ClientClosed,
    ClientOptions,
    DeadlineExceeded,
    MessageTooLarge,
    RankingError,
    RetryOptions,
    ServerUnavailable,
)
from tests.serving.client.servers import MODEL, PATIENT, USER, connect, items

# As many attempts as the deadline allows: a call that begins while the server starts finds it.
FAST = ClientOptions(deadline=1.0, retry=RetryOptions(max_attempts=100))
# Ended by its attempts: one that began with the deadline's last millisecond would say that the server is slow.
FEW_ATTEMPTS = ClientOptions(deadline=30.0, retry=RetryOptions(max_attempts=3))


def calls(client):
    return (
        lambda: client.rank(USER, items(2)),
        lambda: client.encode_user(USER),
        client.model_status,
        client.metadata,
    )


def test_a_server_that_is_down_at_the_start_is_named_and_found_later(server, kind):
    server.kill()
    with connect(kind, server, FEW_ATTEMPTS) as client:
        for call in calls(client):
            with pytest.raises(ServerUnavailable, match=r"cannot reach localhost:.*Is the server running") as error:
                call()
            assert error.value.code == "UNAVAILABLE"
            assert error.value.target in (server.target, server.rest_target)
            assert error.value.__cause__ is not None
        server.restart()
        # A channel that was refused looks again after a while, until when it refuses all attempts of a call.
        ends = time.monotonic() + 60
        while True:
            try:
                assert client.rank(USER, items(2)).model_version == 1
                break
            except ServerUnavailable:
                assert time.monotonic() < ends, "the server is there again, and the client does not find it"


def test_a_server_that_dies_under_load_and_comes_back_needs_no_new_client(server, kind):
    stop, died, errors = threading.Event(), threading.Event(), []
    with connect(kind, server, FAST) as client, ThreadPoolExecutor(4) as pool:
        before = client.rank(USER, items(20), deadline=30.0)

        def ask():
            successes = 0
            while not stop.is_set():
                try:
                    scores = client.rank(USER, items(20)).scores_in_request_order
                    np.testing.assert_allclose(scores, before.scores_in_request_order, atol=1e-6)
                    successes += 1
                except RankingError as error:
                    errors.append(error)
                    died.set()
            return successes

        askers = [pool.submit(ask) for _ in range(4)]
        server.kill()
        assert died.wait(60)
        server.restart()
        time.sleep(0.5)
        stop.set()
        for asker in askers:
            asker.result()  # anything but a RankingError fails the test here
        assert list(client.rank(USER, items(20), deadline=30.0)) == list(before)
    assert {type(error) for error in errors} <= {ServerUnavailable, DeadlineExceeded}


def test_a_deadline_is_kept(client):
    state = client.encode_user(USER)
    for call in (
        lambda: client.rank(USER, items(500), deadline=1e-9),
        lambda: client.encode_user(USER, deadline=1e-9),
        lambda: client.score(state, items(500), deadline=1e-9),
        lambda: client.model_status(deadline=1e-9),
    ):
        with pytest.raises(DeadlineExceeded, match="within 1e-09 s") as error:
            call()
        assert error.value.code == "DEADLINE_EXCEEDED"


def test_a_request_beyond_the_clients_limit_names_limit_and_setting(server, kind):
    options = ClientOptions(deadline=30.0, max_message_bytes=20_000, max_candidates_per_call=100_000)
    with connect(kind, server, options) as client:
        client.rank(USER, items(10))
        with pytest.raises(MessageTooLarge, match=r"larger than the client's limit of 20,000.*max_message_bytes"):
            client.rank(USER, items(10_000))
        assert len(client.rank(USER, items(10))) == 10


def test_an_answer_beyond_the_clients_limit_names_limit_and_setting(server, kind):
    user = USER | {"history_item_id": ["i1"] * 400}
    # A request has some 4 bytes per history item, a state many more.
    options = ClientOptions(deadline=30.0, max_message_bytes=6_000)
    with connect(kind, server, options) as client, pytest.raises(MessageTooLarge, match="max_message_bytes") as error:
        client.encode_user(user)
    assert error.value.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_requests_get_the_same_scores(server, kind, client, compression):
    if (kind, compression) == ("rest", "deflate"):
        with pytest.raises(ValueError, match="REST compresses with gzip only"):
            connect(kind, server, ClientOptions(compression=compression))
        return
    with connect(kind, server, ClientOptions(deadline=30.0, compression=compression)) as compressing:
        assert list(compressing.rank(USER, items(300))) == list(client.rank(USER, items(300)))


def test_a_more_than_4_mb_request_is_answered(server, kind):
    candidates = [f"{number:0100d}" for number in range(45_000)]
    options = ClientOptions(deadline=60.0, max_candidates_per_call=50_000)
    with connect(kind, server, options) as client:
        ranking = client.rank(USER, candidates)
    assert len(ranking) == 45_000


def test_a_closed_client_says_so(server, kind):
    with connect(kind, server, PATIENT) as client:
        client.rank(USER, items(2))
        state = client.encode_user(USER)
        client.close()
        for call in (*calls(client), lambda: client.score(state, items(2))):
            with pytest.raises(ClientClosed, match="the client is closed"):
                call()


def test_several_targets_share_the_calls_and_one_may_be_down(server, kind):
    seen = []
    options = ClientOptions(deadline=30.0, on_call=seen.append)
    here = server.rest_target if kind == "rest" else server.target
    nowhere = "localhost:1"
    with connect(kind, server, options) as client:
        single = client.rank(USER, items(5))
    seen.clear()
    with type(client)([here, nowhere], MODEL, options) as client:
        for _ in range(6):
            assert list(client.rank(USER, items(5))) == list(single)
    codes = {(record.target, record.code) for record in seen}
    assert codes == {(here, "OK"), (nowhere, "UNAVAILABLE")}
