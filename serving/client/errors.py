"""What the client raises: one family, so that `except RankingError` catches every failure of a ranking call."""

from __future__ import annotations

from serving.approximate_index import ApproximateIndex


class RankingError(Exception):
    """Base of everything the client refuses or reports.

    Attributes:
        code: name of the gRPC status ("UNAVAILABLE"), also for REST; None when the client itself refused.
        details: the server's own words, "" when there are none.
        target: the server that was asked last, None when none was.
    """

    def __init__(self, message: str, *, code: str | None = None, details: str = "", target: str | None = None):
        super().__init__(message)
        self.code = code
        self.details = details
        self.target = target


class BadRequest(RankingError):
    """The request does not fit the model: a missing or unknown field, a wrong type, a wrong width.

    Attributes:
        field: the input or argument that is wrong, None where the server did not say.
    """

    field: str | None = None

    @classmethod
    def of(cls, field: str, message: str) -> BadRequest:
        """The error about one field, found before any call."""
        error = cls(message)
        error.field = field
        return error


class ModelNotFound(RankingError):
    """No server has a model of this name, or none of its versions is ready."""


class VersionNotFound(RankingError):
    """The model is there, but not this version or label.

    Attributes:
        available: versions that could be asked, newest first; None when that is not known.
    """

    available: tuple[int, ...] | None = None


class SignatureNotFound(RankingError):
    """The model has no such signature, or one with other inputs: it was not exported by this project."""


class WrongIndex(RankingError):
    """The index is of another catalogue than the version that answered: its items and vectors are not the model's.

    Attributes:
        model_version: the version that answered.
        catalogue: of that version.
        index: that was to be searched.
    """

    model_version: int
    catalogue: str
    index: ApproximateIndex

    @classmethod
    def of(cls, model: str, version: int, catalogue: str, index: ApproximateIndex) -> WrongIndex:
        """The error about an answer and the index that it was to be searched in."""
        error = cls(
            f"version {version} of model '{model}' is of catalogue {catalogue}, the index from {index.source} of "
            f"catalogue {index.record.catalogue}; load the index that lies in version {version} "
            "(ApproximateIndex.load), or name the version that this one was made for"
        )
        error.model_version, error.catalogue, error.index = version, catalogue, index
        return error


class DeadlineExceeded(RankingError):
    """No answer within the deadline."""


class ServerUnavailable(RankingError):
    """No server could be reached, or each said that it is not available, after the retries within the deadline."""


class ResourceExhausted(RankingError):
    """The server has more requests than it takes, or a quota is used up."""


class MessageTooLarge(ResourceExhausted):
    """A request or an answer is larger than the client's or the server's limit."""


class Unauthenticated(RankingError):
    """The server wants credentials, or does not accept those it got."""


class PermissionDenied(RankingError):
    """The credentials are known and do not allow this call."""


class InvalidAnswer(RankingError):
    """The server answered with something that is no ranking: no scores, too few, not finite, not parseable."""


class InvalidState(RankingError):
    """Bytes that are no user state: corrupt, cut short, or of a later format."""


class ServerError(RankingError):
    """The server failed in a way that none of the other errors describes; see `code` and `details`."""


class ClientClosed(RankingError):
    """The client was used after `close`."""
