"""`tensorflow.serving.PredictionService`: Predict and GetModelMetadata."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.local_server.batching import Arrays
from serving.local_server.errors import StatusError, status_of
from serving.local_server.loading import DEFAULT_SIGNATURE
from serving.local_server.tensors import decode, encode
from serving.local_server.versions import LoadedVersion, ModelVersions

SIGNATURES = "signature_def"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers from the versions that are available.

    Args:
        versions: of the one model that is served.
    """

    def __init__(self, versions: ModelVersions):
        self._versions = versions

    def Predict(self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> Any:
        """Runs a signature."""
        return answer(context, self._predict, request)

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> Any:
        """The signatures of a version."""
        return answer(context, self.metadata, request)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Not served."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Classify is not served here; the models take tensors: Predict")

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Not served."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Regress is not served here; the models take tensors: Predict")

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Not served."""
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED, "MultiInference is not served here; the models take tensors: Predict"
        )

    def _predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        _require_spec(request)
        with self._versions.use(request.model_spec) as version:
            signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
            if signature not in version.servable.signatures:
                raise StatusError(
                    grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.'
                )
            outputs = run_signature(version, signature, _inputs(request, version, signature), request.output_filter)
            response = predict_pb2.PredictResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.signature_name = signature
            response.model_spec.version.value = version.number
            for name, value in outputs.items():
                response.outputs[name].CopyFrom(encode(value))
            return response

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signatures of a version, whatever carries them.

        Raises:
            StatusError: no such version, or another field than the signatures is asked for.
        """
        _require_spec(request)
        if not request.metadata_field:
            raise _invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURES:
                raise _invalid(f"Metadata field {field} is not supported")
        with self._versions.use(request.model_spec) as version:
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in version.servable.signature_defs.items():
                signatures.signature_def[name].CopyFrom(signature)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version.number
            response.metadata[SIGNATURES].Pack(signatures)
            return response


def answer(context: grpc.ServicerContext, method: Callable[[Any], Any], request: Any) -> Any:
    """What the method returns; a StatusError it raises becomes the call's status."""
    try:
        return method(request)
    except StatusError as error:
        context.abort(error.code, error.message)


def run_signature(version: LoadedVersion, signature: str, inputs: Arrays, wanted: Sequence[str] = ()) -> Arrays:
    """Outputs of a signature by name.

    Args:
        version: that has the signature.
        signature: its name.
        inputs: of the signature's names and dtypes.
        wanted: names of outputs; none for all.

    Raises:
        StatusError: an output is not the signature's, or the model refuses the inputs.
    """
    known = version.servable.signatures[signature].outputs
    _check_outputs(wanted, known)
    try:
        outputs = version.run(signature, inputs)
    except tf.errors.OpError as error:
        raise status_of(error.error_code, error.message) from error
    return {name: outputs[name] for name in wanted or known}


def _inputs(request: predict_pb2.PredictRequest, version: LoadedVersion, signature: str) -> Arrays:
    expected = version.servable.signatures[signature].inputs
    if len(request.inputs) != len(expected):
        sent, wanted = set(request.inputs), set(expected)
        raise _invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({_names(sent)}) != "
            f"len({_names(wanted)}). Sent extra: {_names(sent - wanted)}. "
            f"Missing but required: {_names(wanted - sent)}."
        )
    for name, info in expected.items():
        if name not in request.inputs:
            raise _invalid(
                f"Signature input alias: {name}(feed name: {info.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_names(expected)}, got {_names(request.inputs)}"
            )
    return {name: decode(name, request.inputs[name], info) for name, info in expected.items()}


def _check_outputs(wanted: Sequence[str], known: Collection[str]) -> None:
    for place, name in enumerate(wanted):
        if name not in known:
            raise _invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set {_names(known)}."
            )
        if name in wanted[:place]:
            raise _invalid(f"duplicate output tensor alias: {name}")


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise _invalid("Missing ModelSpec")


def _names(names: Any) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _invalid(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)
