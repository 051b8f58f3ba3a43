"""What is tried again, how often, and where: counted at real servers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.client import (
    BadRequest,
    ClientClosed,
    ClientOptions,
    DeadlineExceeded,
    PermissionDenied,
    RankingClient,
    ResourceExhausted,
    RetryOptions,
    ServerError,
    ServerUnavailable,
    Unauthenticated,
)
from serving.client.async_client import AsyncGrpcTransport
from serving.client.transport import BlockingTransport
from serving.testing import FakeRankingServer
from tests.serving.client.servers import CLIENTS, FEATURES, MODEL, USER, items

QUICK = RetryOptions(max_attempts=4, initial_backoff=0.001, max_backoff=0.002)


@pytest.fixture
def fake():
    with FakeRankingServer(MODEL, features=FEATURES) as server:
        yield server


@pytest.fixture
def records():
    return []


@pytest.fixture
def client(fake, kind, records):
    target = fake.rest_target if kind == "rest" else fake.target
    with CLIENTS[kind](target, MODEL, ClientOptions(deadline=30.0, retry=QUICK, on_call=records.append)) as client:
        client.metadata()
        fake.calls.clear()
        records.clear()
        yield client


def test_a_pause_that_a_busy_machine_makes_longer_hides_no_reason(fake, client, monkeypatch):
    """The deadline passes in the pause before the second attempt: the first one's failure is what is told."""

    async def pause(self, seconds):
        time.sleep(2.1)

    for transport in (BlockingTransport, AsyncGrpcTransport):
        monkeypatch.setattr(transport, "sleep", pause)
    fake.fail("UNAVAILABLE", times=9)
    with pytest.raises(ServerUnavailable):
        client.rank(USER, items(3), deadline=2.0)


def test_unavailable_is_tried_again(fake, client, records):
    fake.fail("UNAVAILABLE", times=3)
    assert len(client.rank(USER, items(3))) == 3
    assert fake.calls["rank"] == 4
    assert [(record.attempt, record.code) for record in records] == [
        (1, "UNAVAILABLE"),
        (2, "UNAVAILABLE"),
        (3, "UNAVAILABLE"),
        (4, "OK"),
    ]


def test_attempts_are_bounded(fake, client):
    fake.fail("UNAVAILABLE", times=None, details="going away")
    with pytest.raises(ServerUnavailable, match=r"4 attempts within 30 s\): .*going away") as error:
        client.rank(USER, items(3))
    assert fake.calls["rank"] == 4
    assert "going away" in error.value.details
    fake.recover()
    assert len(client.rank(USER, items(3))) == 3


@pytest.mark.parametrize(
    "details",
    [
        "The batch scheduling queue to which this task was submitted is full",
        "the server is stopping",
        "upstream is overloaded",
        "",
    ],
)
def test_a_server_that_answers_is_not_out_of_reach(fake, client, details):
    fake.fail("UNAVAILABLE", times=None, details=details)
    with pytest.raises(ServerUnavailable, match=r"localhost:\d+ answered that it is not available \(4 ") as error:
        client.rank(USER, items(3))
    assert details in str(error.value)
    assert "reach" not in str(error.value)
    assert "running" not in str(error.value)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("RESOURCE_EXHAUSTED", ResourceExhausted),
        ("INVALID_ARGUMENT", BadRequest),
        ("PERMISSION_DENIED", PermissionDenied),
        ("UNAUTHENTICATED", Unauthenticated),
        ("INTERNAL", ServerError),
        ("DEADLINE_EXCEEDED", DeadlineExceeded),
    ],
)
def test_nothing_else_is_tried_again(fake, client, code, expected):
    fake.fail(code, times=None, details="that went wrong")
    with pytest.raises(expected) as error:
        client.encode_user(USER)
    assert error.value.code == code
    assert "that went wrong" in error.value.details
    assert error.value.__cause__ is not None
    assert fake.calls["user_tower"] == 1


def test_retries_end_with_the_deadline(fake, kind):
    target = fake.rest_target if kind == "rest" else fake.target
    # No pause is as short as the deadline, which the first attempt needs little of.
    retry = RetryOptions(max_attempts=1000, initial_backoff=1e6, max_backoff=1e6)
    with CLIENTS[kind](target, MODEL, ClientOptions(deadline=30.0, retry=retry)) as client:
        client.metadata()
        fake.fail("UNAVAILABLE", times=None)
        with pytest.raises(ServerUnavailable, match=r"within 5 s"):
            client.rank(USER, items(3), deadline=5.0)
        assert fake.calls["rank"] == 1


def test_thousands_of_attempts_are_possible(fake):
    # The doubled wait of the 1100th is beyond any float.
    retry = RetryOptions(max_attempts=1100, initial_backoff=1e-6, max_backoff=1e-6)
    with RankingClient(fake.target, MODEL, ClientOptions(deadline=600.0, retry=retry)) as client:
        client.metadata()
        fake.fail("UNAVAILABLE", times=1099)
        assert len(client.rank(USER, items(3))) == 3


def test_a_slow_server_costs_no_more_than_the_deadline(fake, client):
    fake.delay = 3.0
    with pytest.raises(DeadlineExceeded, match=r"'rank' of model 'conformance' from localhost:\d+ within 0.2 s"):
        client.rank(USER, items(3), deadline=0.2)
    fake.delay = 0.0
    assert len(client.rank(USER, items(3))) == 3


def test_a_connection_is_kept(fake, client, records):
    for _ in range(20):
        client.rank(USER, items(3))
    assert [record.attempt for record in records] == [1] * 20


def test_targets_take_turns(kind):
    with FakeRankingServer(MODEL, features=FEATURES) as one, FakeRankingServer(MODEL, features=FEATURES) as other:
        targets = [server.rest_target if kind == "rest" else server.target for server in (one, other)]
        with CLIENTS[kind](targets, MODEL, ClientOptions(deadline=30.0)) as client:
            for _ in range(10):
                client.rank(USER, items(3))
        # One more call of either was for the signatures.
        assert (one.calls["rank"], other.calls["rank"]) == (5, 5)


def test_a_version_that_only_one_target_has_is_found_there(kind):
    """Servers of one model change versions one after another."""
    with (
        FakeRankingServer(MODEL, features=FEATURES, versions=(1,)) as old,
        FakeRankingServer(MODEL, features=FEATURES, versions=(2,)) as new,
    ):
        targets = [server.rest_target if kind == "rest" else server.target for server in (old, new)]
        with CLIENTS[kind](targets, MODEL, ClientOptions(deadline=30.0, max_candidates_per_call=3)) as client:
            states = {version: client.encode_user(USER, version=version) for version in (1, 2)}
            for version, state in states.items():
                for _ in range(4):
                    assert client.score(state, items(10)).state is state
                    assert client.rank(USER, items(10), version=version).model_version == version
            old.kill()
            assert client.score(states[1], items(10)).model_version == 2


def test_closing_ends_calls_under_way(fake, kind):
    if kind == "rest":
        pytest.skip("a REST call under way ends by itself, at the latest by its deadline")
    fake.delay = 2.0
    client = CLIENTS[kind](fake.target, MODEL, ClientOptions(deadline=30.0))
    with client, ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.rank, USER, items(3))
        while not fake.calls:
            threading.Event().wait(0.01)
        client.close()
        with pytest.raises(ClientClosed, match="closed during the call"):
            call.result()


def test_a_callback_that_fails_harms_nothing(fake, caplog):
    def broken(record):
        raise RuntimeError("no disk")

    with RankingClient(fake.target, MODEL, ClientOptions(deadline=30.0, on_call=broken)) as client:
        assert len(client.rank(USER, items(3))) == 3
    assert "on_call failed" in caplog.text
    assert "no disk" in caplog.text


def test_a_new_version_with_other_inputs_is_learnt_from_its_refusal(kind):
    """The same ports, another model: what the client knew of the newest version no longer fits."""
    with FakeRankingServer(MODEL, features=FEATURES) as first:
        target = first.rest_target if kind == "rest" else first.target
        rest_port = int(first.rest_target.rpartition(":")[2])
        with CLIENTS[kind](target, MODEL, ClientOptions(deadline=30.0, retry=RetryOptions(max_attempts=50))) as client:
            client.rank(USER, items(3))
            first.kill()
            port = int(first.target.rpartition(":")[2])
            grown = FEATURES | {"city": "string"}
            with FakeRankingServer(MODEL, features=grown, versions=(2,), port=port, rest_port=rest_port):
                assert client.rank(USER | {"city": "Hanoi"}, items(3)).model_version == 2
                with pytest.raises(BadRequest, match=r"feature 'city' \(string\) is missing"):
                    client.rank(USER, items(3))
