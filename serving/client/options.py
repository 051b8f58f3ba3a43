"""How a client behaves: plain frozen settings. Every duration is in seconds."""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from serving.client.errors import BadRequest
from serving.client.metrics import CallRecord
from serving.client.text import shown

PemSource = bytes | str | Path
CallMetadata = Mapping[str, str] | Callable[[], Mapping[str, str]]
# Thirty years; with more the clocks of gRPC and of the system overflow.
MAX_DEADLINE = 1e9
# What gRPC and HTTP can carry: others end the call on its way, each in its own manner.
_METADATA_NAME = re.compile(r"[0-9a-z_.-]+")
_METADATA_VALUE = re.compile(r"[ -~]*")


@dataclasses.dataclass(frozen=True)
class RetryOptions:
    """Retries after UNAVAILABLE, always within the call's deadline; nothing else is retried.

    The n-th wait is drawn uniformly from 0 to `min(max_backoff, initial_backoff * 2**(n-1))` ("full jitter"), so that
    clients which failed together do not come back together. With several targets each is tried before the first wait.

    Attributes:
        max_attempts: calls at most, the first included; 1 turns retries off. Every target is tried once in any case.
        initial_backoff: bound of the first wait.
        max_backoff: bound of any wait.
    """

    max_attempts: int = 5
    initial_backoff: float = 0.05
    max_backoff: float = 1.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts counts the first call too and must be at least 1, got {self.max_attempts}")
        if not 0 < self.initial_backoff <= self.max_backoff:
            raise ValueError(
                "backoffs must be positive, the initial one not above the largest; "
                f"got initial_backoff={self.initial_backoff}, max_backoff={self.max_backoff}"
            )


@dataclasses.dataclass(frozen=True)
class TlsOptions:
    """An encrypted connection; with a key and a chain the client shows a certificate too (mutual TLS).

    Each of the three is PEM: bytes, or the path of a file.

    Attributes:
        root_certificates: who may sign the server's certificate; None takes the system's.
        private_key: the client's key.
        certificate_chain: the client's certificate, and those between it and the root.
        server_name: the name to expect in the server's certificate, where it differs from the target's host.
    """

    root_certificates: PemSource | None = None
    private_key: PemSource | None = None
    certificate_chain: PemSource | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.private_key is None) != (self.certificate_chain is None):
            raise ValueError("mutual TLS needs both private_key and certificate_chain; only one of them was given")

    def pem(self, name: Literal["root_certificates", "private_key", "certificate_chain"]) -> bytes | None:
        """The bytes of one of the three.

        Raises:
            ValueError: when its file cannot be read.
        """
        source: PemSource | None = getattr(self, name)
        if source is None or isinstance(source, bytes):
            return source
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise ValueError(f"TlsOptions.{name}: cannot read '{source}': {error.strerror}") from error


@dataclasses.dataclass(frozen=True)
class KeepAliveOptions:
    """gRPC pings, which find a dead connection behind a firewall or load balancer that drops idle ones.

    Servers refuse pings they find too frequent; gRPC's own default allows one in 300 s on an idle connection.

    Attributes:
        interval: between pings.
        timeout: how long a ping may go unanswered.
        without_calls: ping also while no call is running.
    """

    interval: float = 300.0
    timeout: float = 20.0
    without_calls: bool = True

    def __post_init__(self) -> None:
        if self.interval <= 0 or self.timeout <= 0:
            raise ValueError(f"interval and timeout must be positive, got {self.interval} and {self.timeout}")


@dataclasses.dataclass(frozen=True)
class ClientOptions:
    """Settings of a client; the defaults suit one request of one user with up to some thousand candidates.

    Attributes:
        deadline: for a whole call of the client, with its retries, pages and look-ups of the contract.
        retry: what happens after UNAVAILABLE.
        max_candidates_per_call: longer candidate lists are split, scored in parallel and merged.
        max_parallel_calls: calls of one client that run at once for split lists.
        max_history: send only this many most recent items of each history. None sends all, and the model keeps as many
            as it uses.
        fill_missing: an input that the caller left out is sent as missing ("" or NaN) instead of being an error.
        max_message_bytes: of one request or answer. gRPC's own default, 4 MB, is too little for large requests.
        compression: of requests; gRPC servers answer in kind where they support it. REST knows gzip only.
        tls: None for an unencrypted connection.
        keepalive: None for no pings. gRPC only.
        metadata: sent with every call (HTTP headers for REST), for example `{"authorization": "Bearer ..."}`; a
            callable is asked before each call, so that a token can be renewed.
        on_call: called after every call to a server, in the calling thread; see `PrometheusMetrics`.
        channel_options: further gRPC channel arguments, as in `(("grpc.lb_policy_name", "round_robin"),)`.
    """

    deadline: float = 2.0
    retry: RetryOptions = RetryOptions()
    max_candidates_per_call: int = 2000
    max_parallel_calls: int = 8
    max_history: int | None = None
    fill_missing: bool = False
    max_message_bytes: int = 64 * 1024 * 1024
    compression: Literal["gzip", "deflate"] | None = None
    tls: TlsOptions | None = None
    keepalive: KeepAliveOptions | None = None
    metadata: CallMetadata | None = None
    on_call: Callable[[CallRecord], None] | None = None
    channel_options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_deadline(self.deadline)
        for name in ("max_candidates_per_call", "max_parallel_calls", "max_message_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_history is not None and self.max_history < 1:
            raise ValueError(f"max_history must be at least 1, or None to send all, got {self.max_history}")
        if self.compression not in (None, "gzip", "deflate"):
            raise ValueError(f"compression must be 'gzip', 'deflate' or None, got {self.compression!r}")
        if not callable(self.metadata):
            _checked_metadata(self.metadata or {})

    def call_metadata(self) -> dict[str, str]:
        """The metadata of one call, with names in lower case as HTTP/2 wants them.

        Raises:
            BadRequest: the callable fails, or gives what cannot be sent.
        """
        if not callable(self.metadata):
            return _checked_metadata(self.metadata or {})
        try:
            return _checked_metadata(self.metadata())
        except Exception as error:
            raise BadRequest.of(
                "metadata", f"ClientOptions.metadata failed: {type(error).__name__}: {error}"
            ) from error


def check_deadline(seconds: Any) -> float:
    """The deadline in seconds, when it is one.

    Raises:
        ValueError: when it is not a positive number of seconds up to `MAX_DEADLINE`: a call must not wait for ever.
    """
    try:
        number = float(seconds) if isinstance(seconds, numbers.Real) else math.nan
    except OverflowError:
        number = math.inf
    if not 0 < number <= MAX_DEADLINE:
        raise ValueError(
            f"deadline must be a positive, finite number of seconds, got {shown(seconds)}; {MAX_DEADLINE:g} at most"
        )
    return number


def _checked_metadata(given: Mapping[str, str]) -> dict[str, str]:
    """Entries with names in lower case.

    Raises:
        ValueError: gRPC or HTTP cannot carry an entry; its value may be a secret, and is not shown.
    """
    metadata = {}
    for name, value in given.items():
        if not isinstance(name, str) or not _METADATA_NAME.fullmatch(name.lower()):
            raise ValueError(f"metadata: a name must be letters, digits and any of '_.-', got {shown(name)}")
        if not isinstance(value, str) or not _METADATA_VALUE.fullmatch(value):
            raise ValueError(
                f"metadata['{name}'] must be a string of printable ASCII, got a {type(value).__name__} that is none"
            )
        metadata[name.lower()] = value
    return metadata
