"""The REST half of the fake server: JSON over the same answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from google.protobuf import json_format

from serving import contract
from serving.client.model_info import SIGNATURE_DEF, metadata_request
from serving.client.tensors import number_tensor, string_tensor, to_array
from serving.protos import model_status_pb2, predict_pb2, tensor_pb2
from serving.rest_server import Answer, RestCall, RestFailure
from serving.testing.fake_model import FakeStatus


def rest_answer(answer: Callable[[Any, Mapping[str, str]], Any]) -> Answer:
    """What a `RestServer` answers with, made of messages.

    Args:
        answer: message and headers to answer message; raises FakeStatus.
    """

    def answered(call: RestCall) -> Any:
        try:
            return _answered(call, answer)
        except FakeStatus as failure:
            raise RestFailure(failure.code, failure.details) from failure

    return answered


def _answered(call: RestCall, answer: Callable[[Any, Mapping[str, str]], Any]) -> Any:
    spec = predict_pb2.ModelSpec(name=call.model)
    if call.version is not None:
        spec.version.value = call.version
    elif call.label is not None:
        spec.version_label = call.label
    if call.method == "status":
        status = answer(model_status_pb2.GetModelStatusRequest(model_spec=spec), call.headers)
        return json_format.MessageToDict(status, preserving_proto_field_name=True)
    if call.method == "metadata":
        return _metadata_json(answer(metadata_request(spec), call.headers))
    outputs = answer(_predict_request(spec, call.body), call.headers).outputs
    arrays = {name: _plain(to_array(tensor)) for name, tensor in outputs.items()}
    return {"outputs": arrays if len(arrays) > 1 else next(iter(arrays.values()))}


def _predict_request(spec: predict_pb2.ModelSpec, body: bytes) -> predict_pb2.PredictRequest:
    """The request in a body.

    Raises:
        FakeStatus: INVALID_ARGUMENT, when it is none.
    """
    try:
        asked = json.loads(body)
        spec.signature_name = asked["signature_name"]
        request = predict_pb2.PredictRequest(model_spec=spec)
        for name, values in asked["inputs"].items():
            request.inputs[name].CopyFrom(_tensor(name, values))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FakeStatus("INVALID_ARGUMENT", f"JSON Parse error: {type(error).__name__}: {error}") from error
    return request


def _metadata_json(metadata: predict_pb2.GetModelMetadataResponse) -> Any:
    signatures = predict_pb2.SignatureDefMap.FromString(metadata.metadata[SIGNATURE_DEF].value)
    return {
        "model_spec": json_format.MessageToDict(metadata.model_spec, preserving_proto_field_name=True),
        "metadata": {SIGNATURE_DEF: json_format.MessageToDict(signatures, preserving_proto_field_name=True)},
    }


def _tensor(name: str, values: Any) -> tensor_pb2.TensorProto:
    """JSON as a tensor, whose dtype TensorFlow Serving would take from the signature."""
    array = np.array(values)
    # Of an empty list nothing else says that it is one of strings.
    if array.dtype.kind in "UO" or name == contract.EXCLUDE_ITEM_ID:
        flat = [base64.b64decode(v["b64"]).decode() if isinstance(v, dict) else v for v in array.ravel().tolist()]
        return string_tensor(flat, array.shape)
    whole = "int32" if name == contract.K else "int64"
    return number_tensor(array, {"b": "bool", "i": whole, "f": "float32"}[array.dtype.kind])


def _plain(array: Any) -> Any:
    if array.dtype == object:
        return np.array([value.decode() for value in array.ravel()], object).reshape(array.shape).tolist()
    return array.tolist()
