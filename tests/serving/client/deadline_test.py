"""A deadline holds for a whole REST call, however little at a time a server sends, or takes."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading

import pytest

from serving.client import ClientOptions, DeadlineExceeded, RestRankingClient, RetryOptions
from tests.serving.client.servers import MODEL

OPTIONS = ClientOptions(deadline=0.3, retry=RetryOptions(max_attempts=1))
# Far apart enough that no deadline of a test sees many of them, near enough that no look at the socket waits in vain.
_PAUSE_SECONDS = 0.02
_PIECES = 3000

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "status line": (b"", b"H"),
    "headers": (HEAD, b"a"),
    "many headers": (HEAD, b"a: b\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk size": (CHUNKED, b"0"),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "trailer": (CHUNKED + b"0\r\n", b"a: b\r\n"),
    "body": (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "body without a length": (HEAD + b"\r\n", b" "),
}


@contextlib.contextmanager
def dripping(head: bytes, piece: bytes):
    """A server that sends `head`, and then pieces for a minute or until the client is gone."""
    gone = threading.Event()
    with socket.create_server(("localhost", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(head)
                for _ in itertools.takewhile(lambda _: not gone.wait(_PAUSE_SECONDS), range(_PIECES)):
                    connection.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"localhost:{listener.getsockname()[1]}"
        gone.set()
        thread.join()


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("drip", DRIPS)
def test_a_server_that_sends_a_little_at_a_time_costs_no_more_than_the_deadline(drip, compression):
    options = ClientOptions(deadline=0.3, retry=RetryOptions(max_attempts=1), compression=compression)
    with (
        dripping(*DRIPS[drip]) as target,
        RestRankingClient(target, MODEL, options) as client,
        pytest.raises(DeadlineExceeded, match=r"no answer for model 'conformance' from localhost:\d+ within 0\.3 s"),
    ):
        client.model_status()


def test_a_server_that_takes_no_more_of_a_request_costs_no_more_than_the_deadline():
    # A name longer than what the sockets on both sides hold.
    with socket.create_server(("localhost", 0)) as listener:
        target = f"localhost:{listener.getsockname()[1]}"
        with RestRankingClient(target, "m" * 20_000_000, OPTIONS) as client, pytest.raises(DeadlineExceeded):
            client.model_status()


def test_an_address_that_says_nothing_leaves_time_for_the_next(monkeypatch):
    """A name may have several addresses, of which one is out of reach."""
    silent = socket.create_server(("localhost", 0), backlog=0)
    # With its queue full a server takes no more connections, and refuses none.
    waiting = [socket.socket() for _ in range(4)]
    with silent, contextlib.ExitStack() as stack:
        for sock in waiting:
            stack.enter_context(sock).setblocking(False)
            sock.connect_ex(silent.getsockname())
        good = stack.enter_context(
            answering_once(b'{"model_version_status": [{"version": "3", "state": "AVAILABLE"}]}')
        )
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
            for address in (silent.getsockname(), good)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **settings: addresses)
        options = ClientOptions(deadline=4.0, retry=RetryOptions(max_attempts=1))
        with RestRankingClient("ranking:1", MODEL, options) as client:
            assert client.model_status().available == (3,)


@contextlib.contextmanager
def answering_once(body: bytes):
    with socket.create_server(("localhost", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()
        thread.join(60)
