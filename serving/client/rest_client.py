"""The REST client, for where gRPC cannot go; the standard library's HTTP and nothing else."""

from __future__ import annotations

import collections
import gzip
import http.client
import os
import re
import ssl
import tempfile
import time
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from serving.client import rest_json
from serving.client.base import BlockingClient
from serving.client.errors import BadRequest
from serving.client.http_connection import DeadlineConnection
from serving.client.model_info import Signature
from serving.client.options import ClientOptions, TlsOptions
from serving.client.retrieval_engine import RetrievalEngine
from serving.client.transport import BlockingTransport, CallFailed, Payload, check_targets

_CHUNK = 1 << 16
# What http.client puts on the wire as it is.
_URL_PART = re.compile(r"[!-~]*")


class RestTransport(BlockingTransport):
    """Keep-alive HTTP connections to each target, as many as there are calls at once.

    Args:
        targets: one or several "host:port", "http://host:port/prefix" or "https://...".
        options: of the client.
    """

    names_version = False

    def __init__(self, targets: str | Sequence[str], options: ClientOptions):
        super().__init__(options.max_parallel_calls)
        if options.compression == "deflate":
            raise ValueError("REST compresses with gzip only, got compression='deflate'")
        self.targets = check_targets(targets)
        self._options = options
        self._urls = {target: _url(target, options.tls is not None) for target in self.targets}
        encrypted = any(url.scheme == "https" for url in self._urls.values())
        self._ssl = ssl_context(options.tls or TlsOptions()) if encrypted else None
        self._idle: dict[str, collections.deque[DeadlineConnection]] = {
            target: collections.deque() for target in self.targets
        }

    def encode(self, request: Any) -> Payload:
        """The request as path and JSON."""
        return rest_json.encode(request)

    def decode(self, request: Any, raw: bytes, signature: Signature | None) -> Any:
        """The answer's message; see `rest_json.decode`."""
        return rest_json.decode(request, raw, signature)

    async def send(self, target: str, payload: Payload, timeout: float) -> bytes:
        """Calls and blocks until the answer is there.

        Raises:
            CallFailed: with the gRPC status that the HTTP status, or the failure of the connection, stands for.
        """
        ends = time.monotonic() + timeout
        idle = self._idle[target]
        while True:
            reused = True
            try:
                connection = idle.pop()
            except IndexError:
                connection, reused = self._connection(target), False
            try:
                connection.ends = ends
                status, raw = self._exchange(connection, target, payload)
            except TimeoutError as error:
                connection.close()
                raise CallFailed("DEADLINE_EXCEEDED", str(error), target) from error
            except (OSError, http.client.HTTPException, zlib.error, EOFError) as error:
                connection.close()
                if reused and isinstance(error, ConnectionError):
                    # The server closed it while it was idle. A request changes nothing there, so it may be sent again.
                    continue
                # Of what is no HTTP, for example gRPC, the first bytes would be the words.
                no_http = isinstance(error, http.client.BadStatusLine) and not str(error).isprintable()
                words = "the answer is no HTTP" if no_http else " ".join(str(error).split())
                raise CallFailed("UNAVAILABLE", f"{type(error).__name__}: {words}", target) from error
            except BaseException:
                connection.close()
                raise
            idle.append(connection)
            if status == http.HTTPStatus.OK:
                return raw
            details = rest_json.error_details(raw)
            if status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                details = f"request too large: {details}"
            code = rest_json.CODES.get(status, "INTERNAL")
            raise CallFailed(code, f"HTTP {status}: {details}", target, answered=True)

    def close(self) -> None:
        """Closes the idle connections; calls under way end first."""
        super().close()
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    def _connection(self, target: str) -> DeadlineConnection:
        url = self._urls[target]
        assert url.hostname is not None
        server_name = self._options.tls.server_name if self._options.tls else None
        return DeadlineConnection(url.hostname, url.port, self._ssl if url.scheme == "https" else None, server_name)

    def _exchange(self, connection: DeadlineConnection, target: str, payload: Payload) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", **self._options.call_metadata()}
        body: bytes | None = payload.body or None
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._options.compression == "gzip":
            headers["Accept-Encoding"] = "gzip"
            if body is not None:
                headers["Content-Encoding"] = "gzip"
                body = gzip.compress(body, compresslevel=1)
        if connection.sock is None:
            connection.connect()
        path = self._urls[target].path.rstrip("/") + payload.path
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        return response.status, self._read(response, target)

    def _read(self, response: http.client.HTTPResponse, target: str) -> bytes:
        limit = self._options.max_message_bytes
        expand = zlib.decompressobj(wbits=31) if response.getheader("Content-Encoding") == "gzip" else None
        chunks: list[bytes] = []
        size = 0
        while chunk := response.read1(_CHUNK):
            if expand is not None:
                chunk = expand.decompress(chunk, limit + 1 - size)
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                raise _TooLarge(target, size, limit)
        if response.length:
            raise http.client.IncompleteRead(b"".join(chunks), response.length)
        response.close()  # read1 does not notice the end; unless closed, the connection takes no other request
        return b"".join(chunks)


class RestRankingClient(BlockingClient):
    """`RankingClient` through TensorFlow Serving's REST API: the same methods, the same errors.

    REST answers do not say which version gave them. So that a ranking can, and so that a state is never scored by
    another version, this client asks for the newest version's number first (with its signatures), names it in every
    request, and asks again after `newest_for` seconds or when it is gone. A new version is therefore used up to
    `newest_for` seconds late while the old one is still served.

    Requests and answers are JSON, several times larger than gRPC's messages; a user state more so.

    Args:
        target: "host:port", "http://host:port/prefix" or "https://host:port", or several; "host:port" is HTTPS where
            `ClientOptions.tls` is given.
        model: the name that the model is served under.
        options: see `ClientOptions`; `keepalive` and `channel_options` do nothing here.
        newest_for: seconds for which the number of the newest version, or of a label's, is taken for known.

    Raises:
        BadRequest: no target, or no model name.
        ValueError: an option that REST does not have, or a TLS file that cannot be read.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        model: str,
        options: ClientOptions | None = None,
        *,
        newest_for: float = 10.0,
    ):
        options = options or ClientOptions()
        transport = RestTransport(target, options)
        super().__init__(RetrievalEngine(transport, model, options, newest_for), transport)


def ssl_context(tls: TlsOptions) -> ssl.SSLContext:
    """The TLS settings for HTTPS.

    Raises:
        ValueError: when a file cannot be read, or holds no such PEM.
    """
    roots, key, chain = tls.pem("root_certificates"), tls.pem("private_key"), tls.pem("certificate_chain")
    try:
        context = ssl.create_default_context(cadata=roots.decode() if roots else None)
        if key is not None and chain is not None:
            # The ssl module reads keys from files alone; this one is its owner's to read and gone at once.
            descriptor, path = tempfile.mkstemp(suffix=".pem")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(key + b"\n" + chain)
                context.load_cert_chain(path)
            finally:
                os.unlink(path)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ValueError(f"TlsOptions: {error}") from error
    return context


class _TooLarge(CallFailed):
    def __init__(self, target: str, size: int, limit: int):
        super().__init__("RESOURCE_EXHAUSTED", f"Received message larger than max ({size} vs. {limit})", target)


def _url(target: str, tls: bool) -> SplitResult:
    try:
        url = urlsplit(target if "://" in target else f"{'https' if tls else 'http'}://{target}")
        # Both are errors where they are none: a port, and a name that no name server could be asked for.
        _, host = url.port, (url.hostname or "").encode("idna").decode()
    except ValueError as error:
        raise _no_target(target) from error
    if not (host and url.scheme in ("http", "https") and _URL_PART.fullmatch(host) and _URL_PART.fullmatch(url.path)):
        raise _no_target(target)
    return url


def _no_target(target: str) -> BadRequest:
    return BadRequest.of("target", f"target must be 'host:port' or an http(s) URL, got {target!r}")
