"""Starting `tensorflow_model_server`: its flags and files, and its process, for which a stand-in answers here."""

from __future__ import annotations

import os

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.client import RestRankingClient
from serving.local_server.batching import BatchingOptions
from serving.local_server.errors import LocalServerError
from serving.local_server.policy import VersionPolicy
from serving.local_server.tensorflow_serving import (
    ModelServerOptions,
    TensorFlowServing,
    find_model_server,
    model_server_arguments,
)
from tests.serving.local_server.asking import Asker
from tests.serving.local_server.model_server_stand_in import write_stand_in

# Threads of gRPC itself, which must not be taken from those of the calls.
SPARE = 4 * (os.cpu_count() or 1)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    path = write_stand_in(tmp_path / "bin")
    monkeypatch.setenv("TENSORFLOW_MODEL_SERVER", str(path))
    return path


def parsed(folder):
    text = (folder / "models.config").read_text()
    (config,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    return config


def test_plain_arguments(tmp_path):
    options = ModelServerOptions("shop", poll_seconds=0.2)
    arguments = model_server_arguments(tmp_path / "base", 8500, 0, options, tmp_path)
    assert arguments == [
        "--port=8500",
        "--rest_api_port=0",
        f"--model_config_file={tmp_path}/models.config",
        "--file_system_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
        f"--grpc_max_threads={1024 + SPARE}",
        "--max_num_load_retries=3",
        "--load_retry_interval_micros=1000000",
    ]
    config = parsed(tmp_path)
    assert (config.name, config.base_path, config.model_platform) == ("shop", f"{tmp_path}/base", "tensorflow")
    assert config.model_version_policy.latest.num_versions == 1
    assert not config.version_labels


def test_every_option_has_its_flag(tmp_path):
    options = ModelServerOptions(
        "shop",
        policy=VersionPolicy.parse("3,5"),
        labels={"stable": 3, "canary": 5},
        batching=BatchingOptions(max_batch_size=16, timeout_seconds=0.002),
        max_concurrent=64,
        poll_seconds=2.5,
    )
    arguments = model_server_arguments(tmp_path, 9000, 9001, options, tmp_path)
    assert arguments[:2] == ["--port=9000", "--rest_api_port=9001"]
    assert set(arguments[3:]) == {
        "--file_system_poll_wait_seconds=3",
        "--allow_version_labels_for_unavailable_models=true",
        f"--grpc_max_threads={64 + SPARE}",
        "--max_num_load_retries=3",
        "--load_retry_interval_micros=1000000",
        "--enable_batching=true",
        f"--batching_parameters_file={tmp_path}/batching_parameters.txt",
    }
    config = parsed(tmp_path)
    assert list(config.model_version_policy.specific.versions) == [3, 5]
    assert dict(config.version_labels) == {"stable": 3, "canary": 5}
    assert (tmp_path / "batching_parameters.txt").read_text().split("\n") == [
        "max_batch_size { value: 16 }",
        "batch_timeout_micros { value: 2000 }",
        "num_batch_threads { value: 2 }",
        "pad_variable_length_inputs: true",
        "",
    ]
    model_server_arguments(tmp_path, 9000, 0, ModelServerOptions("shop", policy=VersionPolicy.parse("all")), tmp_path)
    assert parsed(tmp_path).model_version_policy.HasField("all")


def test_the_binary_is_found_by_variable_or_path(tmp_path, monkeypatch, stand_in):
    assert find_model_server() == stand_in
    monkeypatch.delenv("TENSORFLOW_MODEL_SERVER")
    monkeypatch.setenv("PATH", str(stand_in.parent))
    assert find_model_server() == stand_in
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalServerError, match="no tensorflow_model_server on PATH"):
        find_model_server()
    monkeypatch.setenv("TENSORFLOW_MODEL_SERVER", str(tmp_path / "nothing"))
    with pytest.raises(LocalServerError, match="nothing is no program"):
        find_model_server()


def test_the_process_starts_answers_and_ends(tmp_path, stand_in):
    options = ModelServerOptions("shop", batching=BatchingOptions())
    assert TensorFlowServing(tmp_path, options).rest_target is None
    with TensorFlowServing(tmp_path, options, rest_port=0) as server:
        assert server.wait_until_available(300)
        with Asker(server.target, "shop") as asker:
            assert asker.predict()[0] == 1
        with RestRankingClient(server.rest_target, "shop") as client:
            assert client.model_status(deadline=60.0).available == (1,)
        process = server._process
        assert server.poll() is None
    assert process.returncode == 0
    assert list(tmp_path.glob("*.config")) == []


def test_a_process_that_ends_by_itself_is_noticed(tmp_path, stand_in):
    with (
        TensorFlowServing(tmp_path, ModelServerOptions("broken")) as server,
        pytest.raises(LocalServerError, match="has ended with status 3"),
    ):
        server.wait_until_available(300)


def test_the_base_path_is_checked_first(tmp_path, stand_in):
    with pytest.raises(LocalServerError, match="does not exist"):
        TensorFlowServing(tmp_path / "nowhere", ModelServerOptions("shop"))
