"""HTTP connections on which every wait ends with the call's deadline, however little the server sends at a time."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from typing import Any

# Seconds. The system counts the milliseconds of a wait in 32 bits.
_LONGEST_WAIT = 1e6


class DeadlineConnection(http.client.HTTPConnection):
    """A connection whose `ends` is set before each request: its answer must be there by then.

    A socket's own time-out begins anew with each byte, so that a server which sends one at a time would never be over
    it. Here it is set before each look at the socket, to what is left. Only the look-up of a host's name is the
    system's, and takes as long as that takes.

    Args:
        host: name or address.
        port: None for that of HTTP, or HTTPS.
        tls: None for an unencrypted connection.
        server_name: to expect in the certificate; None for the host's.

    Attributes:
        ends: moment of `time.monotonic` at which every wait ends with a TimeoutError.
    """

    def __init__(self, host: str, port: int | None, tls: ssl.SSLContext | None, server_name: str | None):
        self.default_port = http.client.HTTP_PORT if tls is None else http.client.HTTPS_PORT
        # Without a port it would look for one in the host, and find it in an IPv6 address.
        super().__init__(host, port or self.default_port)
        self.ends = time.monotonic()
        self._tls = tls
        self._server_name = server_name or host

    def left(self) -> float:
        """Seconds until the deadline.

        Raises:
            TimeoutError: it has passed.
        """
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed")
        return min(left, _LONGEST_WAIT)

    def connect(self) -> None:
        """Tries the host's addresses one after the other; each has its share of the time that is left.

        Raises:
            OSError: the last one's; TimeoutError among them.
        """
        addresses = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        for place, (family, kind, protocol, _, address) in enumerate(addresses, start=1):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self.left() / (len(addresses) + 1 - place))
                sock.connect(address)
                break
            except OSError:
                sock.close()
                if place == len(addresses):
                    raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            sock.settimeout(self.left())
            sock = self._tls.wrap_socket(sock, server_hostname=self._server_name)
        self.sock = sock

    def send(self, data: Any) -> None:
        """Sends all of some bytes."""
        rest = memoryview(data)
        while rest:
            self.sock.settimeout(self.left())
            rest = rest[self.sock.send(rest) :]

    def response_class(self, sock: socket.socket, **settings: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        """What reads an answer."""
        return http.client.HTTPResponse(_Readable(sock, self), **settings)  # type: ignore[arg-type]


class _Readable:
    """What an HTTPResponse needs of a socket."""

    def __init__(self, sock: socket.socket, connection: DeadlineConnection):
        self._sock = sock
        self._connection = connection

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self._sock, self._connection))


class _Incoming(io.RawIOBase):
    """The bytes of a socket, each look at it no longer than the deadline."""

    def __init__(self, sock: socket.socket, connection: DeadlineConnection):
        super().__init__()
        self._sock = sock
        # Holds the socket open after the connection is closed, as it is before an answer that ends with it is read.
        self._open = sock.makefile("rb", buffering=0)
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._connection.left())
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._open.close()
        super().close()
