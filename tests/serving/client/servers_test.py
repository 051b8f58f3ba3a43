"""How the conformance tests start TensorFlow Serving, for which a stand-in answers here."""

from __future__ import annotations

from serving.client import RankingClient
from tests.serving.client.servers import MODEL, TensorFlowServing
from tests.serving.local_server.model_server_stand_in import write_stand_in


def test_a_folder_is_made_and_calls_have_threads(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORFLOW_MODEL_SERVER", str(write_stand_in(tmp_path / "bin")))
    models = tmp_path / "models"
    (models / "1").mkdir(parents=True)
    server = TensorFlowServing(models, tmp_path / "engines" / "tensorflow_serving")
    try:
        assert "--grpc_max_threads=1024" in server._process.args
        with RankingClient(server.target, MODEL) as client:
            assert client.model_status(deadline=30.0).available == (1,)
    finally:
        server.close()
