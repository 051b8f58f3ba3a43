"""The end of `dmf demo`: the pushed model behind a real server, asked by the real client."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.cli import main
from tfx_pipeline.console import console
from tfx_pipeline.studies.worlds import demo as demo_run
from tfx_pipeline.trained.rank import rank
from tfx_pipeline.trained.server_process import ServerProcess
from tfx_pipeline.trained.version import Version

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def data(tmp_path) -> Path:
    """What the end of the demo reads of its data: who asked last."""
    pq.write_table(pa.table({"user_id": ["u3", "u1"]}), tmp_path / "truth.parquet")
    return tmp_path


@pytest.fixture
def model(trained, tmp_path) -> Path:
    version = tmp_path / "shop" / "7"
    shutil.copytree(trained / "Format-Serving", version)
    return version


@pytest.mark.slow
def test_the_ranking_comes_over_grpc_and_is_that_of_the_model(data, model, capfd):
    server = ServerProcess(model.parent, "shop")
    demo_run.print_answer(demo_run.rank_on_the_wire(server, data, Version(model)), console())
    printed = capfd.readouterr().err
    assert server.pid == 0, "the server is stopped"
    best = rank(Version(model), "u1", top=10).ranking
    rows = re.findall(r"│ +(\d+) │ (\S+) +│ (0\.\d{4}) │", printed)
    assert rows == [(str(place), one.item, f"{one.score:.4f}") for place, one in enumerate(best, start=1)]
    assert re.search(r"40 items ranked over gRPC in \d+ ms by the local server at 127\.0\.0\.1:\d+, which is", printed)
    assert f"dmf serve {model.parent}\n" in printed
    assert f"dmf rank --model {model.parent} --user u1 --top 10\n" in printed


@pytest.mark.slow
def test_a_model_that_cannot_be_served_ends_the_demo_with_a_sentence(data, tmp_path, monkeypatch, capfd):
    # The pipeline is not what is tested: it "pushes" a version that is none.
    version = tmp_path / "out" / "serving" / "demo" / "3"
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"no model \xff\x00")
    monkeypatch.setattr(demo_run, "write_demo_logs", lambda directory: None)
    monkeypatch.setattr(demo_run, "run", lambda *args, **kwargs: SimpleNamespace(model_path=str(version)))
    overrides = [f"output={tmp_path / 'out'}"]
    for key in ("data.interactions", "data.items", "data.users", "content.modalities.text", "content.modalities.image"):
        overrides.append(f"{key}.path={data / 'file'}")
    arguments = [argument for override in overrides for argument in ("--set", override)]
    assert main(["demo", "--config", str(ROOT / "pipeline_config.yaml"), *arguments]) == 1
    printed = capfd.readouterr().err
    assert "stopped: the model cannot be served: version 3 cannot be loaded:" in printed
    assert "Traceback" not in printed
