"""TensorFlow Serving's REST paths, statuses and error bodies over HTTP, whoever answers: the local server, or the fake.

The standard library's HTTP and nothing else. Not for production: one thread for each connection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import http
import http.server
import io
import json
import logging
import re
import socket
import socketserver
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

# Statuses as TensorFlow Serving answers them; every other is 500.
_HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_MODEL = r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PATHS = {
    "GET": re.compile(_MODEL + "(?:/(?P<method>metadata))?", re.IGNORECASE),
    "POST": re.compile(_MODEL + ":(?P<method>classify|regress|predict)", re.IGNORECASE),
}
_LARGEST_VERSION = 2**63 - 1
_MOST_DIGITS = 19
_CHUNK = 1 << 16
# A connection whose next request has not begun, and told all of its headers, in so long is closed.
_HEAD_SECONDS = 60.0
# A body that is not whole in so long is given up, and an answer that is not taken.
_BODY_SECONDS = 60.0
# Largest body after decompression: a few kilobytes can be made to inflate to gigabytes.
_MOST_INFLATED = 64 * 1024 * 1024
# With more connections than these, the one that has waited longest without a whole request is cut.
_MOST_CONNECTIONS = 1000
_LOOK_SECONDS = 0.02
_LOG = logging.getLogger(__name__)


class RestFailure(Exception):
    """How a call ends that is not answered.

    Args:
        code: name of the gRPC status.
        details: what the client reads, in `{"error": ...}`.
        http_status: where it is not the one that TensorFlow Serving gives for the code.
    """

    def __init__(self, code: str, details: str, http_status: int | None = None):
        super().__init__(f"{code}: {details}")
        self.code = code
        self.details = details
        self.http_status = http_status or _HTTP_STATUS.get(code, 500)


@dataclasses.dataclass(frozen=True)
class RestCall:
    """What is asked.

    Attributes:
        method: "status", "metadata" or "predict".
        model: name of the model.
        version: the number in the path, None where there is none.
        label: the version label in the path, likewise.
        body: of a prediction, uncompressed.
        headers: with names in lower case.
    """

    method: str
    model: str
    version: int | None
    label: str | None
    body: bytes
    headers: Mapping[str, str]


# The JSON that answers a call; raises RestFailure.
Answer = Callable[[RestCall], Any]


class RestServer:
    """Binds a port when it is made, answers from `start` to `stop`.

    Args:
        host: address to listen at.
        port: 0 takes a free one.
        answer: called in the thread of a connection.
        tls: HTTPS in place of HTTP.
        max_concurrent: calls that may run; one more is answered with RESOURCE_EXHAUSTED. None for no bound. A call runs
            from when its body is whole, so that clients who send nothing keep nobody out.
        max_body_bytes: largest body, before and after decompression. None for no bound. One that is compressed may have
            64 MB in any case.

    Raises:
        OSError: the port cannot be bound.
    """

    def __init__(
        self,
        host: str,
        port: int,
        answer: Answer,
        *,
        tls: ssl.SSLContext | None = None,
        max_concurrent: int | None = None,
        max_body_bytes: int | None = None,
    ):
        self._server = _Server((host.strip("[]"), port), answer, tls, max_concurrent, max_body_bytes)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_LOOK_SECONDS,), daemon=True)

    def start(self) -> None:
        """Answers from now on; who has connected before is answered too."""
        self._thread.start()

    def stop(self, grace: float = 0.0) -> None:
        """Refuses new calls, lets those under way end within `grace` seconds, then cuts all connections."""
        if self._thread.ident is not None:
            self._server.shutdown()
        self._server.server_close()
        self._server.drain(grace)
        self._server.cut()
        if self._thread.ident is not None:
            self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        answer: Answer,
        tls: ssl.SSLContext | None,
        max_concurrent: int | None,
        max_body_bytes: int | None,
    ):
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)
        if tls is not None:
            # The handshake is left to the connection's own thread, where a bad one harms nobody else.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answer = answer
        self.max_body_bytes = max_body_bytes
        self._max_concurrent = max_concurrent
        self._connections: set[socket.socket] = set()
        # Those of which no call is being answered, the one that has been so longest first.
        self._waiting: dict[socket.socket, None] = {}
        self._changed = threading.Condition()
        self._calls = 0
        self._answers = 0
        self._draining = False

    def server_bind(self) -> None:
        # Not the base class's, which looks this machine's name up: a name server that is away would hold up the start.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """One of the calls that may run."""
        with self._changed:
            if self._draining:
                raise RestFailure("UNAVAILABLE", "the server is stopping")
            if self._max_concurrent is not None and self._calls >= self._max_concurrent:
                raise RestFailure("RESOURCE_EXHAUSTED", f"{self._calls} calls are running, and no more may")
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1

    @contextlib.contextmanager
    def answering(self, connection: socket.socket) -> Iterator[None]:
        """A call from its whole body to its last byte: a server that stops waits for it."""
        with self._changed:
            self._answers += 1
            self._waiting.pop(connection, None)
        try:
            yield
        finally:
            with self._changed:
                self._answers -= 1
                self._waiting[connection] = None
                self._changed.notify_all()

    def drain(self, grace: float) -> None:
        with self._changed:
            self._draining = True
            self._changed.wait_for(lambda: self._answers == 0, grace)

    def cut(self) -> None:
        for connection in list(self._connections):
            _cut(connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._changed:
            if len(self._connections) >= _MOST_CONNECTIONS and (longest := next(iter(self._waiting), None)) is not None:
                del self._waiting[longest]
                _cut(longest)
            self._connections.add(connection)
            self._waiting[connection] = None
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._connections.discard(request)
            self._waiting.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is no news."""


def _cut(connection: socket.socket) -> None:
    # One that has ended by itself cannot be shut down.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._incoming = _Incoming(self.connection)
        self.rfile.close()
        self.rfile = io.BufferedReader(self._incoming)

    def handle_one_request(self) -> None:
        self._incoming.allow(_HEAD_SECONDS)
        super().handle_one_request()

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written for a call."""

    def _handle(self) -> None:
        self._incoming.allow(_BODY_SECONDS)
        try:
            self._unread = self._announced()
            body = self._body()
        except RestFailure as failure:
            self._refuse(failure)
            return
        except TimeoutError:
            self._unread, self.close_connection = 0, True
            self._refuse(RestFailure("DEADLINE_EXCEEDED", f"the body was not whole in {_BODY_SECONDS:g} seconds", 408))
            return
        with self.server.answering(self.connection):
            try:
                with self.server.admitted():
                    answer = self._answered(body)
            except RestFailure as failure:
                self._refuse(failure)
            else:
                self._send(200, answer)

    def _refuse(self, failure: RestFailure) -> None:
        for _ in self._chunks():
            pass  # else the rest of the body would be taken for the next request
        self._send(failure.http_status, {"error": failure.details})

    def _answered(self, body: bytes) -> Any:
        call = self._call(body)
        try:
            return self.server.answer(call)
        except RestFailure:
            raise
        except Exception as error:
            _LOG.exception("a REST call failed")
            raise RestFailure("INTERNAL", f"{type(error).__name__}: {error}") from error

    def _call(self, body: bytes) -> RestCall:
        path = urlsplit(self.path).path
        if not path.lower().startswith("/v1/"):
            raise RestFailure("NOT_FOUND", f"nothing is at {path}; models are at /v1/models/NAME")
        match = _PATHS[self.command].fullmatch(path)
        if match is None:
            raise RestFailure("INVALID_ARGUMENT", f"Malformed request: {self.command} {path}")
        # As text first: Python makes no number of some thousand digits.
        digits = (match["version"] or "").lstrip("0")
        if len(digits) > _MOST_DIGITS or int(digits or 0) > _LARGEST_VERSION:
            raise RestFailure("INVALID_ARGUMENT", f"Failed to convert version: {digits:.40} to numeric.")
        version = None if match["version"] is None else int(digits or 0)
        method = (match["method"] or "status").lower()
        if method in ("classify", "regress"):
            raise RestFailure("UNIMPLEMENTED", f"{method} is not served here; the models take tensors: predict")
        label = None if match["label"] is None else unquote(match["label"])
        headers = {name.lower(): value for name, value in self.headers.items()}
        return RestCall(method, unquote(match["model"]), version, label, body, headers)

    def _announced(self) -> int:
        """Bytes of the body."""
        text = self.headers["Content-Length"] or "0"
        if "Transfer-Encoding" in self.headers or not (text.isdecimal() and len(text) <= _MOST_DIGITS):
            # Nobody knows where this request ends and the next one begins.
            self._unread, self.close_connection = 0, True
            raise RestFailure("INVALID_ARGUMENT", "a request says how long its body is: Content-Length, in bytes")
        return int(text)

    def _chunks(self) -> Iterator[bytes]:
        while self._unread:
            chunk = self.rfile.read1(min(self._unread, _CHUNK))
            if not chunk:
                raise ConnectionAbortedError("the client has gone before the body was whole")
            self._unread -= len(chunk)
            yield chunk

    def _body(self) -> bytes:
        limit = self.server.max_body_bytes
        if limit is not None and self._unread > limit:
            raise _too_large(self._unread, limit)
        body = b"".join(self._chunks())
        if self.headers["Content-Encoding"] != "gzip":
            return body
        expand = zlib.decompressobj(wbits=31)
        most = _MOST_INFLATED if limit is None else min(limit, _MOST_INFLATED)
        try:
            plain = expand.decompress(body, most + 1)
        except zlib.error as error:
            raise RestFailure("INVALID_ARGUMENT", f"the body is not gzip: {error}") from error
        if len(plain) > most:
            raise _too_large(len(plain), most)
        if not expand.eof:
            raise RestFailure("INVALID_ARGUMENT", "the body is not gzip: it ends too early")
        return plain

    def _send(self, status: int, answer: Any) -> None:
        self.connection.settimeout(_BODY_SECONDS)
        raw = json.dumps(answer).encode()
        self.send_response(status)
        if self.headers["Accept-Encoding"] == "gzip":
            raw = gzip.compress(raw, compresslevel=1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(raw)


class _Incoming(io.RawIOBase):
    """The bytes of a connection within a time: a client that sends one at a time is not for ever within it.

    Args:
        connection: of the client.
    """

    def __init__(self, connection: socket.socket):
        super().__init__()
        self._connection = connection
        self._ends = 0.0

    def allow(self, seconds: float) -> None:
        """From now on reading may take so long."""
        self._ends = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the client is too slow")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


def _too_large(size: int, limit: int) -> RestFailure:
    details = f"a body of {size} bytes or more is larger than the limit of {limit}"
    return RestFailure("RESOURCE_EXHAUSTED", details, http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
