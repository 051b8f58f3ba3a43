"""`tensorflow.serving.ModelService`: in which state the versions are."""

from __future__ import annotations

from typing import Any

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving.local_server.errors import StatusError
from serving.local_server.prediction_service import answer
from serving.local_server.versions import ModelVersions


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Tells what `ModelVersions` knows.

    Args:
        versions: of the one model that is served.
    """

    def __init__(self, versions: ModelVersions):
        self._versions = versions

    def GetModelStatus(self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext) -> Any:
        """States of all versions, or of the one that is asked."""
        return answer(context, self.status, request)

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Not served."""
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            "the local server has one model and no configuration to reload; start it again with other options",
        )

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """States of all versions, or of the one that is asked, whatever carries them.

        Raises:
            StatusError: no such model or version.
        """
        spec = request.model_spec
        if not request.HasField("model_spec"):
            raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")
        statuses = self._versions.statuses() if spec.name == self._versions.model else {}
        if spec.HasField("version"):
            number = spec.version.value
            if number not in statuses:
                raise StatusError(grpc.StatusCode.NOT_FOUND, f"Could not find version {number} of model {spec.name}")
            statuses = {number: statuses[number]}
        if not statuses:
            raise StatusError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, status in statuses.items():
            entry = response.model_version_status.add(version=number, state=int(status.state))
            entry.status.error_code = 0 if status.error is None else status.error.number
            entry.status.error_message = "" if status.error is None else status.error.message
        return response
