"""TensorFlow Serving's REST API over the versions of one model: predict, status and metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from serving.local_server.errors import StatusError
from serving.local_server.json_tensors import INSTANCES, parse_body, read_inputs, write_outputs
from serving.local_server.loading import DEFAULT_SIGNATURE
from serving.local_server.model_service import ModelService
from serving.local_server.prediction_service import SIGNATURES, PredictionService, run_signature
from serving.local_server.versions import ModelVersions
from serving.rest_server import RestCall, RestFailure


class RestApi:
    """Answers the calls of a `RestServer` with the code that answers gRPC.

    Args:
        versions: of the one model that is served.
    """

    def __init__(self, versions: ModelVersions):
        self._versions = versions
        self._prediction = PredictionService(versions)
        self._models = ModelService(versions)
        self._methods: dict[str, Callable[[RestCall, model_pb2.ModelSpec], Any]] = {
            "status": self._status,
            "metadata": self._metadata,
            "predict": self._predict,
        }

    def __call__(self, call: RestCall) -> Any:
        """The JSON that answers a call.

        Raises:
            RestFailure: with the status that gRPC would give, but for a signature that is unknown.
        """
        spec = model_pb2.ModelSpec(name=call.model)
        if call.version is not None:
            spec.version.value = call.version
        elif call.label is not None:
            spec.version_label = call.label
        try:
            return self._methods[call.method](call, spec)
        except StatusError as error:
            raise RestFailure(error.code.name, error.message) from error

    def _status(self, call: RestCall, spec: model_pb2.ModelSpec) -> Any:
        return _json(self._models.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec)))

    def _metadata(self, call: RestCall, spec: model_pb2.ModelSpec) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURES])
        response = self._prediction.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURES].Unpack(signatures)
        return {"model_spec": _json(response.model_spec), "metadata": {SIGNATURES: _json(signatures)}}

    def _predict(self, call: RestCall, spec: model_pb2.ModelSpec) -> Any:
        request = parse_body(call.body)
        with self._versions.use(spec) as version:
            signature = request.get("signature_name") or DEFAULT_SIGNATURE
            known = version.servable.signatures.get(signature)
            if known is None:
                # Where gRPC says FAILED_PRECONDITION; so does TensorFlow Serving.
                message = f'Serving signature name: "{signature}" not found in signature def'
                raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)
            outputs = run_signature(version, signature, read_inputs(request, dict(known.inputs)))
        return write_outputs(outputs, rows=INSTANCES in request)


def _json(message: Message) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
