"""Descriptors of TensorFlow Serving's two services, for gRPC reflection.

`tensorflow-serving-api` has modules with them, but those were generated for a protobuf that is gone and cannot be
imported; its messages and stubs can. So the descriptors are put together here, as its .proto files have them.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool

# Importing these puts the messages into the pool.
from tensorflow_serving.apis import (  # noqa: F401
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"

_FOLDER = "tensorflow_serving/apis/"
# Service: methods with the stem of their messages, and the files these are in, in the order of the original's imports.
_SERVICES = {
    PREDICTION_SERVICE: {
        "Classify": ("Classification", "classification"),
        "Regress": ("Regression", "regression"),
        "Predict": ("Predict", "predict"),
        "MultiInference": ("MultiInference", "inference"),
        "GetModelMetadata": ("GetModelMetadata", "get_model_metadata"),
    },
    MODEL_SERVICE: {
        "GetModelStatus": ("GetModelStatus", "get_model_status"),
        "HandleReloadConfigRequest": ("ReloadConfig", "model_management"),
    },
}
_FILES = {PREDICTION_SERVICE: "prediction_service.proto", MODEL_SERVICE: "model_service.proto"}


def register() -> None:
    """Puts both services into protobuf's default pool, unless they are there."""
    pool = descriptor_pool.Default()
    for service, methods in _SERVICES.items():
        package, _, name = service.rpartition(".")
        path = _FOLDER + _FILES[service]
        try:
            pool.FindFileByName(path)
            continue
        except KeyError:
            pass
        file = descriptor_pb2.FileDescriptorProto(name=path, package=package, syntax="proto3")
        file.options.cc_enable_arenas = True
        file.dependency.extend(sorted(f"{_FOLDER}{stem}.proto" for _, stem in methods.values()))
        described = file.service.add(name=name)
        for method, (message, _) in methods.items():
            described.method.add(
                name=method,
                input_type=f".{package}.{message}Request",
                output_type=f".{package}.{message}Response",
            )
        pool.AddSerializedFile(file.SerializeToString())
