"""What the blocking and the asyncio gRPC client have in common: messages, channel arguments, credentials."""

from __future__ import annotations

import re
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.client.errors import InvalidAnswer
from serving.client.model_info import Signature
from serving.client.options import ClientOptions, TlsOptions
from serving.client.transport import CallFailed, Payload
from serving.protos import model_status_pb2, predict_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
_PATHS: dict[type, tuple[str, Any]] = {
    predict_pb2.PredictRequest: (PREDICT, predict_pb2.PredictResponse),
    predict_pb2.GetModelMetadataRequest: (METADATA, predict_pb2.GetModelMetadataResponse),
    model_status_pb2.GetModelStatusRequest: (STATUS, model_status_pb2.GetModelStatusResponse),
}
_COMPRESSION = {
    None: grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}

# gRPC's own words where it reached nobody, or lost the connection; it has no other sign of that.
_NOT_REACHED = re.compile(
    r"failed to connect|dns resolution|name resolution|address list|socket (is )?closed|endpoint clos|broken pipe|"
    r"connection (attempt|refused|reset|timed|closed|dropped)|recvmsg|sendmsg|goaway|ping timeout|keepalive|rst_stream|"
    r"transport closed|http1|handshake|closed channel|channel (was |is )?closed|network is unreachable",
    re.IGNORECASE,
)


class GrpcMessages:
    """Encoding and decoding: on gRPC the messages go as they are."""

    names_version = True

    def encode(self, request: Any) -> Payload:
        """The message's bytes."""
        return Payload(_PATHS[type(request)][0], request.SerializeToString())

    def decode(self, request: Any, raw: bytes, signature: Signature | None) -> Any:
        """The answer's message.

        Raises:
            InvalidAnswer: when the bytes are none.
        """
        try:
            return _PATHS[type(request)][1].FromString(raw)
        except DecodeError as error:
            raise InvalidAnswer(f"the answer cannot be parsed: {error}") from error


def channel_arguments(options: ClientOptions) -> dict[str, Any]:
    """Keyword arguments `options` and `compression` of a channel."""
    arguments: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", options.max_message_bytes),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        # A server that comes back is found by the retries of one call, not after gRPC's default of up to 120 s.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 300),
        # The retry rules are the client's own; gRPC's transparent ones would count twice.
        ("grpc.enable_retries", 0),
    ]
    if options.keepalive is not None:
        arguments += [
            ("grpc.keepalive_time_ms", round(options.keepalive.interval * 1000)),
            ("grpc.keepalive_timeout_ms", round(options.keepalive.timeout * 1000)),
            ("grpc.keepalive_permit_without_calls", int(options.keepalive.without_calls)),
            ("grpc.http2.max_pings_without_data", 0),
        ]
    if options.tls is not None and options.tls.server_name is not None:
        arguments.append(("grpc.ssl_target_name_override", options.tls.server_name))
    return {"options": [*arguments, *options.channel_options], "compression": _COMPRESSION[options.compression]}


def channel_credentials(tls: TlsOptions) -> grpc.ChannelCredentials:
    """TLS credentials of a channel.

    Raises:
        ValueError: when a file cannot be read.
    """
    return grpc.ssl_channel_credentials(
        tls.pem("root_certificates"), tls.pem("private_key"), tls.pem("certificate_chain")
    )


def call_failed(error: Any, target: str) -> CallFailed:
    """A gRPC error as the engine knows it."""
    code, details = error.code().name, error.details() or ""
    # Here calls are cancelled by closing the client alone: else the server did it, as some do when they stop.
    code = "UNAVAILABLE" if code == "CANCELLED" else code
    return CallFailed(code, details, target, answered=_NOT_REACHED.search(details) is None)
