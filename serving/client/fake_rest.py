"""The REST half of the fake server: TensorFlow Serving's paths and JSON over the same answers."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np
from google.protobuf import json_format

from serving.client.fake_model import FakeStatus
from serving.client.model_info import SIGNATURE_DEF, metadata_request
from serving.client.tensors import number_tensor, string_tensor, to_array
from serving.protos import model_status_pb2, predict_pb2, tensor_pb2

_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?(?P<call>:predict|/metadata)?"
)
_HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
Answer = Callable[[Any, Mapping[str, str]], Any]


class FakeRestServer:
    """Answers at `port` from its start to `close`.

    Args:
        port: 0 takes a free one.
        answer: message and headers to answer message; raises FakeStatus.
        tls: HTTPS in place of HTTP.
    """

    def __init__(self, port: int, answer: Answer, tls: ssl.SSLContext | None = None):
        self._server = _Server(port, answer, tls)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops at once; open connections are cut."""
        self._server.shutdown()
        self._server.server_close()
        self._server.cut()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, answer: Answer, tls: ssl.SSLContext | None):
        super().__init__(("localhost", port), _Handler)
        if tls is not None:
            # The handshake is left to the connection's own thread, where a bad one harms nobody else.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answer = answer
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it ended by itself

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._handle(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._handle(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)

    def log_message(self, format: str, *args: Any) -> None:
        """The fake writes nothing."""

    def _handle(self, body: bytes) -> None:
        try:
            status, answer = 200, self._answered(body)
        except FakeStatus as failure:
            status, answer = _HTTP_STATUS.get(failure.code, 500), {"error": failure.details}
        raw = json.dumps(answer).encode()
        self.send_response(status)
        if self.headers["Accept-Encoding"] == "gzip":
            raw = gzip.compress(raw)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _answered(self, body: bytes) -> Any:
        match = _PATH.fullmatch(self.path)
        if match is None:
            raise FakeStatus("INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path}")
        spec = predict_pb2.ModelSpec(name=unquote(match["model"]))
        if match["version"] is not None:
            spec.version.value = int(match["version"])
        elif match["label"] is not None:
            spec.version_label = unquote(match["label"])
        assert isinstance(self.server, _Server)
        answer, headers = self.server.answer, {name.lower(): value for name, value in self.headers.items()}
        if match["call"] is None:
            status = answer(model_status_pb2.GetModelStatusRequest(model_spec=spec), headers)
            return json_format.MessageToDict(status, preserving_proto_field_name=True)
        metadata = answer(metadata_request(spec), headers) if match["call"] == "/metadata" else None
        if metadata is not None:
            return _metadata_json(metadata)
        return self._predicted(spec, body, headers)

    def _predicted(self, spec: predict_pb2.ModelSpec, body: bytes, headers: Mapping[str, str]) -> Any:
        asked = json.loads(body)
        spec.signature_name = asked["signature_name"]
        request = predict_pb2.PredictRequest(model_spec=spec)
        for name, values in asked["inputs"].items():
            request.inputs[name].CopyFrom(_tensor(name, values))
        assert isinstance(self.server, _Server)
        outputs = self.server.answer(request, headers).outputs
        arrays = {name: _plain(to_array(tensor)) for name, tensor in outputs.items()}
        return {"outputs": arrays if len(arrays) > 1 else next(iter(arrays.values()))}


def _metadata_json(metadata: predict_pb2.GetModelMetadataResponse) -> Any:
    signatures = predict_pb2.SignatureDefMap.FromString(metadata.metadata[SIGNATURE_DEF].value)
    return {
        "model_spec": json_format.MessageToDict(metadata.model_spec, preserving_proto_field_name=True),
        "metadata": {SIGNATURE_DEF: json_format.MessageToDict(signatures, preserving_proto_field_name=True)},
    }


def _tensor(name: str, values: Any) -> tensor_pb2.TensorProto:
    """JSON as a tensor, whose dtype TensorFlow Serving would take from the signature."""
    array = np.array(values)
    if array.dtype.kind in "UO":
        flat = [base64.b64decode(v["b64"]).decode() if isinstance(v, dict) else v for v in array.ravel().tolist()]
        return string_tensor(flat, array.shape)
    return number_tensor(array, {"b": "bool", "i": "int64", "f": "float32"}[array.dtype.kind])


def _plain(array: Any) -> Any:
    if array.dtype == object:
        return np.array([value.decode() for value in array.ravel()], object).reshape(array.shape).tolist()
    return array.tolist()
