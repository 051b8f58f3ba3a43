"""A client of ranking models behind TensorFlow Serving; it needs grpcio, protobuf and numpy, never TensorFlow.

`serving.testing` has a server for tests of your own code.
"""

from serving.approximate_index import ApproximateIndex, MissingLibrary, UnusableIndex
from serving.client.async_client import AsyncRankingClient
from serving.client.errors import (
    BadRequest,
    ClientClosed,
    DeadlineExceeded,
    InvalidAnswer,
    InvalidState,
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
    WrongIndex,
)
from serving.client.grpc_client import RankingClient
from serving.client.metrics import CallRecord, PrometheusMetrics
from serving.client.model_info import ModelMetadata, ModelStatus, Signature, VersionStatus
from serving.client.options import ClientOptions, KeepAliveOptions, RetryOptions, TlsOptions
from serving.client.ranking import RankedItem, Ranking
from serving.client.rest_client import RestRankingClient
from serving.client.retrieval import Recommendation, RecommendedItem, Retrieval, RetrievedItem
from serving.client.user import User
from serving.client.user_state import UserState

__all__ = [
    "RankingClient",
    "AsyncRankingClient",
    "RestRankingClient",
    "User",
    "UserState",
    "Ranking",
    "RankedItem",
    "Recommendation",
    "RecommendedItem",
    "Retrieval",
    "RetrievedItem",
    "ModelMetadata",
    "ModelStatus",
    "Signature",
    "VersionStatus",
    "ClientOptions",
    "KeepAliveOptions",
    "RetryOptions",
    "TlsOptions",
    "CallRecord",
    "PrometheusMetrics",
    "RankingError",
    "BadRequest",
    "ClientClosed",
    "DeadlineExceeded",
    "InvalidAnswer",
    "InvalidState",
    "MessageTooLarge",
    "ModelNotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "ServerError",
    "ServerUnavailable",
    "SignatureNotFound",
    "Unauthenticated",
    "VersionNotFound",
    "WrongIndex",
    "ApproximateIndex",
    "MissingLibrary",
    "UnusableIndex",
]
