"""The messages of `serving.protos` as TensorFlow Serving's REST API has them: paths and JSON. Pure functions."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import numpy as np
from google.protobuf import json_format
from google.protobuf.json_format import ParseError

from serving.client.errors import BadRequest, InvalidAnswer
from serving.client.model_info import SIGNATURE_DEF, Signature
from serving.client.tensors import number_tensor, string_tensor, to_array
from serving.client.transport import Payload
from serving.protos import model_status_pb2, predict_pb2, tensor_pb2

# HTTP status to the gRPC status that TensorFlow Serving, or a proxy before it, means.
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

# Kinds of numpy's dtypes that JSON's values may have, by that of the dtype they are read as.
_JSON_KINDS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}
# Characters of a server's words that a message shows.
_LONGEST_DETAILS = 1000


def encode(request: Any) -> Payload:
    """The path and JSON body of a request; status and metadata are GETs without a body.

    Raises:
        BadRequest: naming a tensor of a user's state that JSON cannot carry.
    """
    path = _model_path(request.model_spec)
    if isinstance(request, model_status_pb2.GetModelStatusRequest):
        return Payload(path, b"")
    if isinstance(request, predict_pb2.GetModelMetadataRequest):
        return Payload(f"{path}/metadata", b"")
    body = {
        "signature_name": request.model_spec.signature_name,
        # The columnar format: inputs of one request may differ in their first two dimensions.
        "inputs": {name: _json_values(name, tensor) for name, tensor in sorted(request.inputs.items())},
    }
    return Payload(f"{path}:predict", json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())


def decode(request: Any, raw: bytes, signature: Signature | None) -> Any:
    """The answer message to `request`.

    A Predict answer has neither version nor dtypes: the version is that of the request, the dtypes are the signature's.

    Raises:
        InvalidAnswer: when the body is no such JSON.
    """
    # Whatever a server can send is tried here; a body that is nested too deep is a RecursionError.
    try:
        answer = json.loads(raw)
        if isinstance(request, model_status_pb2.GetModelStatusRequest):
            return json_format.ParseDict(answer, model_status_pb2.GetModelStatusResponse(), ignore_unknown_fields=True)
        if isinstance(request, predict_pb2.GetModelMetadataRequest):
            return _metadata(answer)
        assert signature is not None
        return _prediction(request, answer, signature)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, ParseError) as error:
        raise InvalidAnswer(f"the answer is not what TensorFlow Serving's REST API sends: {error}") from error


def error_details(raw: bytes) -> str:
    """The server's words in the body of an error."""
    try:
        return str(json.loads(raw)["error"])[:_LONGEST_DETAILS]
    except (ValueError, TypeError, KeyError, RecursionError):
        return raw[:200].decode(errors="replace").strip()


def _model_path(spec: predict_pb2.ModelSpec) -> str:
    path = f"/v1/models/{quote(spec.name, safe='')}"
    if spec.HasField("version"):
        return f"{path}/versions/{spec.version.value}"
    if spec.version_label:
        return f"{path}/labels/{quote(spec.version_label, safe='')}"
    return path


def _json_values(name: str, tensor: tensor_pb2.TensorProto) -> Any:
    try:
        array = to_array(tensor)
    except ValueError as error:
        raise BadRequest.of(name, f"input '{name}' cannot be sent as JSON: {error}; use gRPC") from error
    if array.dtype != object:
        return array.tolist()
    strings = np.empty(array.size, object)
    strings[:] = [_json_string(value) for value in array.ravel().tolist()]
    return strings.reshape(array.shape).tolist()


def _json_string(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _metadata(answer: dict[str, Any]) -> predict_pb2.GetModelMetadataResponse:
    response: predict_pb2.GetModelMetadataResponse = json_format.ParseDict(
        {"model_spec": answer["model_spec"]}, predict_pb2.GetModelMetadataResponse(), ignore_unknown_fields=True
    )
    signatures = json_format.ParseDict(
        answer["metadata"][SIGNATURE_DEF], predict_pb2.SignatureDefMap(), ignore_unknown_fields=True
    )
    response.metadata[SIGNATURE_DEF].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    response.metadata[SIGNATURE_DEF].value = signatures.SerializeToString()
    return response


def _prediction(
    request: predict_pb2.PredictRequest, answer: dict[str, Any], signature: Signature
) -> predict_pb2.PredictResponse:
    outputs = answer["outputs"]
    if len(signature.outputs) == 1:
        # The only output comes without its name.
        outputs = {next(iter(signature.outputs)): outputs}
    response = predict_pb2.PredictResponse(model_spec=request.model_spec)
    for name in request.output_filter:
        response.outputs[name].CopyFrom(_tensor(outputs[name], signature.outputs[name].dtype))
    return response


def _tensor(values: Any, dtype: str) -> tensor_pb2.TensorProto:
    if dtype != "string":
        given = np.asarray(values)
        # numpy would read numbers in strings, and null as NaN.
        if given.size and given.dtype.kind not in _JSON_KINDS[np.dtype(dtype).kind]:
            raise ValueError(f"expected {dtype} values, got {given.dtype}")
        with np.errstate(over="ignore"):
            return number_tensor(given, dtype)
    array = np.array(values, object)
    if wrong := [value for value in array.ravel() if not isinstance(value, str)]:
        raise ValueError(f"expected strings, got {type(wrong[0]).__name__}")
    return string_tensor(array.ravel().tolist(), array.shape)
