"""Status codes of a server as typed errors with a sentence that helps."""

from __future__ import annotations

import re

from serving.client.errors import (
    BadRequest,
    DeadlineExceeded,
    MessageTooLarge,
    ModelNotFound,
    PermissionDenied,
    RankingError,
    ResourceExhausted,
    ServerError,
    ServerUnavailable,
    SignatureNotFound,
    Unauthenticated,
    VersionNotFound,
)
from serving.client.requests import Selector
from serving.client.transport import CallFailed

# gRPC's words, the same in all of its languages: "Received message larger than max (5242880 vs. 4194304)".
_TOO_LARGE = re.compile(r"message larger than max \((\d+) vs\.? (\d+)\)", re.IGNORECASE)


def typed_error(
    failure: CallFailed, *, model: str, asked: Selector, signature: str, deadline: float, attempts: int, limit: int
) -> RankingError:
    """The error that a caller sees.

    Args:
        failure: of the last attempt.
        model: the model's name.
        asked: the version asked.
        signature: the signature asked, "" for a call without one.
        deadline: seconds that the whole call had.
        attempts: calls made.
        limit: the client's `max_message_bytes`.
    """
    kind, message = _kind_and_message(failure, model, asked, signature, deadline, attempts, limit)
    return kind(message, code=failure.code, details=failure.details, target=failure.target)


def too_large(size: int, limit: int, what: str) -> str:
    """The sentence about a message beyond the client's own limit."""
    return (
        f"{what} of {size:,} bytes is larger than the client's limit of {limit:,}; raise "
        "ClientOptions(max_message_bytes=...), or lower max_candidates_per_call, or a retrieval's k"
    )


def _kind_and_message(
    failure: CallFailed, model: str, asked: Selector, signature: str, deadline: float, attempts: int, limit: int
) -> tuple[type[RankingError], str]:
    code, details, target = failure.code, failure.details or "no details", failure.target
    what = f"'{signature}' of model '{model}'" if signature else f"model '{model}'"
    pinned = asked != Selector()
    # TensorFlow Serving answers an unknown label with INVALID_ARGUMENT.
    if pinned and (code == "NOT_FOUND" or (code == "INVALID_ARGUMENT" and "version label" in details)):
        return VersionNotFound, f"{target} does not serve {asked} of model '{model}' ({details})"
    if code == "NOT_FOUND":
        return ModelNotFound, (
            f"{target} has no model '{model}' that is ready ({details}); check the name against the server's "
            "--model_name or models.config"
        )
    if code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION") and re.search(r"signature.*not found", details, re.I | re.S):
        return SignatureNotFound, f"{asked} of model '{model}' at {target} has no signature '{signature}' ({details})"
    if code in ("INVALID_ARGUMENT", "OUT_OF_RANGE"):
        return BadRequest, f"{target} refused the request to {what}: {details}"
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded, (
            f"no answer for {what} from {target} within {deadline:g} s; the server is slow, overloaded or out of "
            "reach. Raise `deadline`, or ask for fewer candidates"
        )
    if code == "UNAVAILABLE":
        tried = f"({attempts} attempt{'s' * (attempts != 1)} within {deadline:g} s)"
        if failure.answered:
            return ServerUnavailable, (
                f"{target} answered that it is not available {tried}: {details}. It has too many requests, or is "
                "starting or stopping: ask it less at once, add servers, or try later"
            )
        return ServerUnavailable, (
            f"cannot reach {target} {tried}: {details}. "
            "Is the server running, and is this its port? (TensorFlow Serving: 8500 gRPC, 8501 REST)"
        )
    if code == "RESOURCE_EXHAUSTED":
        return _exhausted(details, target, limit)
    if code == "UNAUTHENTICATED":
        return Unauthenticated, f"{target} wants credentials ({details}); give them as ClientOptions(metadata=...)"
    if code == "PERMISSION_DENIED":
        return PermissionDenied, f"{target} does not allow this call with these credentials: {details}"
    if code == "UNIMPLEMENTED":
        return ServerError, f"{target} does not know this call ({details}); is it TensorFlow Serving's port?"
    return ServerError, f"{target} failed with {code} on {what}: {details}"


def _exhausted(details: str, target: str, limit: int) -> tuple[type[RankingError], str]:
    sizes = _TOO_LARGE.search(details)
    if sizes is None and "too large" in details.lower():
        return MessageTooLarge, (
            f"{target} refused the request for its size ({details}); lower ClientOptions(max_candidates_per_call=...)"
        )
    if sizes is None:
        return ResourceExhausted, (
            f"{target} takes no more requests ({details}); call it less at once, add servers, or raise TensorFlow "
            "Serving's --grpc_max_threads"
        )
    size, largest = int(sizes[1]), int(sizes[2])
    if largest == limit:
        return MessageTooLarge, too_large(size, limit, f"the answer of {target}")
    return MessageTooLarge, (
        f"a message of {size:,} bytes is larger than the limit of {largest:,} at {target}; lower "
        "ClientOptions(max_candidates_per_call=...), or raise grpc.max_receive_message_length of the server, or of the "
        "proxy before it (TensorFlow Serving itself takes 2 GB)"
    )
