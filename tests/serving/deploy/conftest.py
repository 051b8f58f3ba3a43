"""What the tests of the deployment files share: the files, and what TensorFlow Serving 2.19.1 accepts in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "serving" / "deploy"

# Flags of tensorflow_serving/model_servers/main.cc.
FLAGS = """
port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms rest_api_enable_cors_support
enable_batching allow_version_labels_for_unavailable_models batching_parameters_file
enable_per_model_batching_parameters model_config_file model_config_file_poll_wait_seconds model_name model_base_path
num_load_threads num_unload_threads max_num_load_retries load_retry_interval_micros file_system_poll_wait_seconds
flush_filesystem_caches tensorflow_session_parallelism tensorflow_session_config_file tensorflow_intra_op_parallelism
tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file platform_config_file
per_process_gpu_memory_fraction saved_model_tags grpc_channel_arguments grpc_max_threads enable_model_warmup
num_request_iterations_for_warmup version monitoring_config_file remove_unused_fields_from_bundle_metagraph
prefer_tflite_model num_tflite_pools num_tflite_interpreters_per_pool enable_signature_method_name_check
xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler thread_pool_factory_config_file
mixed_precision skip_initialize_tpu enable_grpc_healthcheck_service enable_serialization_as_tensor_content
"""

# Messages whose protos the tensorflow-serving-api wheel lacks: field name to type.
MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "allowed_batch_sizes": "int64 repeated",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "BoolValue",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "SSLConfig": {"server_key": "string", "server_cert": "string", "custom_ca": "string", "client_verify": "bool"},
}


@pytest.fixture(scope="session")
def deploy() -> Path:
    return DEPLOY


@pytest.fixture(scope="session")
def flags() -> frozenset[str]:
    """Names of all flags of tensorflow_model_server."""
    return frozenset(FLAGS.split())


@pytest.fixture(scope="session")
def parse() -> Callable[[str, str], Message]:
    """Text format to a message of MESSAGES, given its name; unknown fields and wrong types raise ParseError."""
    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {"bool": kinds.TYPE_BOOL, "string": kinds.TYPE_STRING, "int64": kinds.TYPE_INT64}
    file = descriptor_pb2.FileDescriptorProto(
        name="deploy_test.proto", package="deploy_test", syntax="proto3", dependency=["google/protobuf/wrappers.proto"]
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            kind, _, repeated = kind.partition(" ")
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in scalars:
                added.type = scalars[kind]
            else:
                added.type = kinds.TYPE_MESSAGE
                added.type_name = f".google.protobuf.{kind}" if kind.endswith("Value") else f".deploy_test.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    classes = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"deploy_test.{name}")) for name in MESSAGES
    }
    return lambda name, text: text_format.Parse(text, classes[name]())


@pytest.fixture(scope="session")
def server_config() -> Callable[[str], Any]:
    """A file of serving/deploy as the one model that its ModelServerConfig has."""
    from tensorflow_serving.config import model_server_config_pb2

    def read(name: str) -> Any:
        text = (DEPLOY / name).read_text(encoding="utf-8")
        (model,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
        return model

    return read


@pytest.fixture(scope="session")
def documents() -> dict[str, list[dict[str, Any]]]:
    """Every YAML file of serving/deploy, by path: the documents in it, with the defaults of its variables."""
    found = {}
    for path in sorted(DEPLOY.rglob("*.yaml")):
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", path.read_text(encoding="utf-8"))
        found[path.relative_to(DEPLOY).as_posix()] = list(yaml.safe_load_all(text))
    return found


@pytest.fixture(scope="session")
def compose(documents: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    (document,) = documents["docker-compose.yaml"]
    return document


@pytest.fixture(scope="session")
def objects(documents: dict[str, list[dict[str, Any]]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The Kubernetes objects by kind and name, the optional ServiceMonitor among them."""
    listed = [each for path, each in documents.items() if path.startswith("kubernetes/")]
    return {(item["kind"], item["metadata"]["name"]): item for each in listed for item in each}


@pytest.fixture(scope="session")
def container(objects: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    (found,) = objects["Deployment", "dmf-serving"]["spec"]["template"]["spec"]["containers"]
    return found
