"""Asking a server with `tensorflow-serving-api`, the client that knows nothing of ours."""

from __future__ import annotations

import time

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

TIMEOUT = 60.0
USER = {
    "user_id": np.array([b"u1"], object),
    "history_item_id": np.array([[b"i3", b"i1", b"i2"]], object),
    "gender": np.array([b"f"], object),
    "age": np.array([34], np.float32),
}
RANK = {**USER, "candidate_item_id": np.array([[b"i4", b"i5", b"i1", b"new"]], object)}


class Asker:
    """Stubs of one server; a context manager."""

    def __init__(self, target: str, model: str = "small"):
        self.model = model
        # A channel that was refused waits for seconds before it tries again; tests start servers while one waits.
        self.channel = grpc.insecure_channel(target, [("grpc.max_reconnect_backoff_ms", 100)])
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def request(self, signature="rank", arrays=None, *, model=None, version=None, label=None, outputs=()):
        """A PredictRequest."""
        request = predict_pb2.PredictRequest(output_filter=outputs)
        _address(request.model_spec, model or self.model, version, label)
        request.model_spec.signature_name = signature
        for name, value in (RANK if arrays is None else arrays).items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        return request

    def send(self, request):
        return self.prediction.Predict(request, timeout=TIMEOUT)

    def predict(self, signature="rank", arrays=None, **spec) -> tuple[int, dict[str, np.ndarray]]:
        """The version that answered, and its outputs."""
        response = self.send(self.request(signature, arrays, **spec))
        outputs = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
        return response.model_spec.version.value, outputs

    def metadata(self, fields=("signature_def",), *, model=None, version=None, label=None):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        _address(request.model_spec, model or self.model, version, label)
        return self.prediction.GetModelMetadata(request, timeout=TIMEOUT)

    def status(self, *, model=None, version=None) -> dict[int, get_model_status_pb2.ModelVersionStatus]:
        """Status by version."""
        request = get_model_status_pb2.GetModelStatusRequest()
        _address(request.model_spec, model or self.model, version, None)
        answer = self.models.GetModelStatus(request, timeout=TIMEOUT)
        return {entry.version: entry for entry in answer.model_version_status}

    def states(self) -> dict[int, str]:
        """Names of states by version."""
        name = get_model_status_pb2.ModelVersionStatus.State.Name
        return {number: name(entry.state) for number, entry in self.status().items()}


def _address(spec, model, version, label):
    spec.name = model
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label


def until(condition, seconds: float = 300.0) -> None:
    """Waits for something that must come to be."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come to be"
        time.sleep(0.02)


def refusal(call) -> tuple[str, str]:
    """Code and details of a call that must fail."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError(f"no error, but {answer}")


def outcome(call) -> str:
    """Code of a call that may succeed."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name
    return "OK"
