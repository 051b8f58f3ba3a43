"""Clients that say little, or nothing: they keep nobody out, and are not waited for for ever."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import threading
import time

import pytest

from serving import rest_server
from serving.rest_server import RestServer

PREDICT = "/v1/models/m:predict"
HEAD = b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"


@contextlib.contextmanager
def serving(answer=lambda call: {"outputs": len(call.body)}, **options):
    server = RestServer("127.0.0.1", 0, answer, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ask(server, body=b"{}", path=PREDICT, **headers) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def connected(server, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(data)
    return connection


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1", HEAD, HEAD + b"{"], ids=["nothing", "half a line", "head", "a byte"]
)
def test_clients_that_send_nothing_keep_nobody_out(sent):
    with serving(max_concurrent=2) as server, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connected(server, sent))
        assert ask(server) == (200, {"outputs": 2})


def test_of_too_many_connections_those_go_that_have_said_nothing_for_longest(monkeypatch):
    monkeypatch.setattr(rest_server, "_MOST_CONNECTIONS", 20)
    with serving() as server, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connected(server, b"")) for _ in range(19)]
        used = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        stack.enter_context(contextlib.closing(used))
        for _ in range(5):
            used.request("POST", PREDICT, b"{}")
            assert json.loads(used.getresponse().read()) == {"outputs": 2}
            stack.enter_context(connected(server, b"POST"))
            assert ask(server) == (200, {"outputs": 2})
        assert [connection.recv(1) for connection in silent[:5]] == [b""] * 5


def test_a_client_that_takes_no_answer_keeps_nobody_out(monkeypatch):
    monkeypatch.setattr(rest_server, "_BODY_SECONDS", 3600.0)

    # More than what the sockets on both sides hold.
    def answer(call):
        return "x" * 20_000_000 if call.body == b"much" else "little"

    with serving(answer, max_concurrent=1) as server, connected(server, HEAD.replace(b"1000", b"4") + b"much"):
        # Refused as long as the other's answer is made, not as long as nobody takes it.
        found = (0, "")
        for _ in range(3000):
            if (found := ask(server))[0] != 429:
                break
            time.sleep(0.02)
        assert found == (200, "little")


def test_a_body_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(rest_server, "_BODY_SECONDS", 0.2)
    with serving() as server, connected(server, HEAD) as connection:
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body was not whole in 0.2 seconds" in answer


@pytest.mark.parametrize(
    ("head", "piece", "answer"),
    [
        (b"", b"P", b""),
        (b"POST /v1/models/m:predict HTTP/1.1\r\n", b"a", b""),
        (b"POST /v1/models/m:predict HTTP/1.1\r\n", b"a: b\r\n", b""),
        (HEAD.replace(b"1000", b"100000"), b" ", b"HTTP/1.1 408 "),
    ],
    ids=["line", "header", "headers", "body"],
)
def test_a_client_that_sends_a_little_at_a_time_is_not_for_ever_in_time(monkeypatch, head, piece, answer):
    monkeypatch.setattr(rest_server, "_BODY_SECONDS", 0.2)
    monkeypatch.setattr(rest_server, "_HEAD_SECONDS", 0.2)
    with serving() as server, connected(server, head) as connection:
        over = threading.Event()

        def drip():
            with contextlib.suppress(OSError):
                for _ in itertools.takewhile(lambda _: not over.wait(0.02), range(3000)):
                    connection.sendall(piece)

        thread = threading.Thread(target=drip)
        thread.start()
        received = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(1 << 16):
                received += chunk
        over.set()
        thread.join()
    assert received.startswith(answer)


def test_what_is_read_is_waited_for_when_the_server_stops():
    begun, go_on = threading.Event(), threading.Event()

    def answer(call):
        begun.set()
        assert go_on.wait(60)
        return "answered"

    server = RestServer("127.0.0.1", 0, answer)
    server.start()
    found = []
    asking = threading.Thread(target=lambda: found.append(ask(server)))
    asking.start()
    # One that has not sent its body is not waited for.
    with connected(server, HEAD):
        assert begun.wait(60)
        stopping = threading.Thread(target=server.stop, args=(600,))
        stopping.start()
        go_on.set()
        stopping.join(60)
        assert not stopping.is_alive()
    asking.join()
    assert found == [(200, "answered")]


@pytest.mark.parametrize("length", ["9" * 5000, str(10**19), "-1", "1e3"])
def test_a_length_that_is_none_is_refused(length):
    with serving() as server, connected(server, HEAD.replace(b"1000", length.encode())) as connection:
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("version", ["9" * 5000, str(2**63), "0" * 30 + str(2**63)])
def test_an_absurd_version_is_a_bad_request(version):
    with serving() as server:
        status, answer = ask(server, path=f"/v1/models/m/versions/{version}:predict")
    assert (status, answer["error"][:26]) == (400, "Failed to convert version:")
    assert len(answer["error"]) < 100


def test_leading_zeros_of_a_version_mean_nothing():
    with serving(lambda call: call.version) as server:
        assert ask(server, path=f"/v1/models/m/versions/{'0' * 5000}7:predict") == (200, 7)
        assert ask(server, path="/v1/models/m/versions/0:predict") == (200, 0)
        assert ask(server, path=f"/v1/models/m/versions/{2**63 - 1}:predict") == (200, 2**63 - 1)
