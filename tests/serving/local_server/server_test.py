"""Starting, bounds, health, reflection, and an orderly end."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from serving.local_server.batching import BatchingOptions
from serving.local_server.errors import LocalServerError
from serving.local_server.server import LocalServer
from tests.serving.local_server.asking import TIMEOUT, Asker, outcome, refusal, until


def test_a_base_path_must_be_one(folder, tmp_path):
    with pytest.raises(LocalServerError, match="does not exist"):
        LocalServer(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalServerError, match="is not a folder"):
        LocalServer(tmp_path / "file")
    version = folder.add(1)
    with pytest.raises(LocalServerError, match=f"give the folder that holds it: {folder.path}"):
        LocalServer(version)


@pytest.mark.parametrize("options", [{"max_concurrent": 0}, {"max_message_bytes": 0}, {"poll_seconds": 0.0}])
def test_options_that_make_no_sense(folder, options):
    with pytest.raises(LocalServerError, match="must be at least 1 and poll_seconds above 0"):
        LocalServer(folder.path, **options)


def test_a_port_that_is_taken(folder):
    folder.add(1)
    with LocalServer(folder.path) as server:
        port = int(server.target.rpartition(":")[2])
        with pytest.raises(LocalServerError, match=f"cannot listen at 127.0.0.1:{port}"):
            LocalServer(folder.path, port=port).start()
        # The second attempt has not harmed the first server.
        with Asker(server.target) as asker:
            assert asker.predict()[0] == 1


def test_it_can_start_again_at_the_same_port(folder):
    folder.add(1)
    server = LocalServer(folder.path)
    with server, Asker(server.target) as asker:
        target = server.target
        assert asker.predict()[0] == 1
        server.stop()
        assert server.available == []
        assert refusal(asker.predict)[0] == "UNAVAILABLE"
        folder.add(2)
        server.start()
        assert server.target == target
        response = asker.prediction.Predict(asker.request(), timeout=TIMEOUT, wait_for_ready=True)
        assert response.model_spec.version.value == 2


def test_one_call_more_than_allowed_is_refused(folder):
    folder.add(1)
    # The call waits for a second one to share its batch, which cannot come.
    batching = BatchingOptions(max_batch_size=2, timeout_seconds=5)
    with LocalServer(folder.path, batching=batching, max_concurrent=1) as server, Asker(server.target) as asker:
        waiting = asker.prediction.Predict.future(asker.request(), timeout=TIMEOUT)
        until(lambda: server._versions._available[1].calls == 1)
        assert refusal(asker.status)[0] == "RESOURCE_EXHAUSTED"
        assert waiting.result().model_spec.version.value == 1
        until(lambda: outcome(asker.predict) == "OK")


def test_calls_under_way_may_end_while_new_ones_are_refused(folder):
    folder.add(1)
    # A watched health and a call that ends in a moment: only the call is worth waiting for.
    batching = BatchingOptions(max_batch_size=2, timeout_seconds=3)
    server = LocalServer(folder.path, batching=batching)
    with server, Asker(server.target) as asker:
        health = health_pb2_grpc.HealthStub(asker.channel).Watch(health_pb2.HealthCheckRequest())
        assert next(health).status == health_pb2.HealthCheckResponse.SERVING
        waiting = asker.prediction.Predict.future(asker.request(), timeout=TIMEOUT)
        # The call is inside once a version is in use.
        until(lambda: server._versions._available[1].calls == 1)
        server.stop(grace=600)
        assert waiting.result().model_spec.version.value == 1
        assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert refusal(asker.predict)[0] == "UNAVAILABLE"


def test_large_messages(folder):
    folder.add(1)
    request_of_5_mb = {"candidate_item_id": np.array([[b"i" * 1000] * 5000], object)}
    with LocalServer(folder.path) as server, Asker(server.target) as asker:
        request = asker.request()
        request.inputs["candidate_item_id"].CopyFrom(asker.request(arrays=request_of_5_mb).inputs["candidate_item_id"])
        assert len(asker.send(request).outputs["score"].float_val) == 5000
    with LocalServer(folder.path, max_message_bytes=10_000) as server, Asker(server.target) as asker:
        code, details = refusal(lambda: asker.send(request))
        assert code == "RESOURCE_EXHAUSTED"
        assert "10000" in details
        assert asker.predict()[0] == 1


def test_reflection_describes_the_services(folder):
    folder.add(1)
    with LocalServer(folder.path) as server, Asker(server.target) as asker:
        database = ProtoReflectionDescriptorDatabase(asker.channel)
        assert set(database.get_services()) == {
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
            "tensorflow.serving.ModelService",
            "tensorflow.serving.PredictionService",
        }
        pool = DescriptorPool(database)
        prediction = pool.FindServiceByName("tensorflow.serving.PredictionService")
        assert [method.name for method in prediction.methods] == [
            "Classify",
            "Regress",
            "Predict",
            "MultiInference",
            "GetModelMetadata",
        ]
        predict = prediction.FindMethodByName("Predict")
        assert predict.input_type.fields_by_name["inputs"].number == 2
        status = pool.FindServiceByName("tensorflow.serving.ModelService").FindMethodByName("GetModelStatus")
        assert status.output_type.full_name == "tensorflow.serving.GetModelStatusResponse"
