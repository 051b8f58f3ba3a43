"""`dmf submit`: what is sent, and what is said where there is no cluster or it refuses."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfx_pipeline.cli import main

SPEC = {
    "pipelineInfo": {"name": "shop"},
    "schemaVersion": "2.1.0",
    "sdkVersion": "tfx-1.21.0",
    "deploymentSpec": {"executors": {"step_executor": {"container": {"image": "image", "command": ["true"]}}}},
    "components": {"step": {"executorLabel": "step_executor"}},
    "root": {
        "dag": {"tasks": {"step": {"componentRef": {"name": "step"}, "taskInfo": {"name": "step"}}}},
        "inputDefinitions": {
            "parameters": {
                "seed": {"parameterType": "NUMBER_INTEGER", "defaultValue": 42},
                "data_root": {"parameterType": "STRING", "defaultValue": "/data"},
            }
        },
    },
}


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(SPEC))
    return str(file)


@contextlib.contextmanager
def api(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The part of Kubeflow Pipelines' API that starting a run asks, as its v2beta1 answers; keeps what it was sent."""
    runs: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, value: dict[str, Any], code: int = 200) -> None:
            body = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if "experiments" in self.path:
                self._answer({"experiments": [{"experiment_id": "e1", "display_name": "Default"}]})
            else:
                self._answer({"multi_user": False})

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "experiments" in self.path:
                self._answer({"experiment_id": "e1", "display_name": "Default"})
                return
            runs.append({**sent, "authorization": self.headers.get("Authorization")})
            self._answer({"run_id": "r1"} if status == 200 else {"error": "no such experiment"}, status)

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", runs
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_run_is_started_with_its_parameters(pipeline, tmp_path, capsys):
    token = tmp_path / "token"
    token.write_text("secret\n")
    with api() as (host, runs):
        command = ["submit", pipeline, "--host", host, "--parameter", "seed=7", "--name", "today", "--no-cache"]
        assert main([*command, "--token-file", str(token), "--service-account", "runner"]) == 0
    assert f"run r1: {host}/#/runs/details/r1" in "".join(capsys.readouterr())
    (run,) = runs
    assert run["runtime_config"]["parameters"] == {"seed": 7}
    assert run["display_name"] == "today"
    assert run["service_account"] == "runner"
    assert run["authorization"] == "Bearer secret"
    tasks = run["pipeline_spec"]["root"]["dag"]["tasks"]
    assert tasks["step"]["cachingOptions"] in ({}, {"enableCache": False})


def test_a_cluster_that_refuses(pipeline, capsys):
    with api(400) as (host, _):
        assert main(["submit", pipeline, "--host", host]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"stopped: {host}: Kubeflow Pipelines refuses")
    assert "no such experiment" in said
    assert "Traceback" not in said


def test_no_cluster(pipeline, capsys):
    assert main(["submit", pipeline, "--host", "http://127.0.0.1:1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("stopped: http://127.0.0.1:1: Kubeflow Pipelines refuses or does not answer")
    assert "port-forward" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--parameter", "sed=1"], "no parameter 'sed' (did you mean 'seed'?); parameters: data_root, seed"),
        (["--parameter", "seed=1.5"], "--parameter seed: should be a whole number, got '1.5'"),
    ],
)
def test_parameters_that_the_pipeline_does_not_have(pipeline, capsys, arguments, said):
    assert main(["submit", pipeline, "--host", "http://127.0.0.1:1", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text", ["a: b", "", "- 1", "{", "a: [1\n"])
def test_a_file_that_is_no_pipeline(tmp_path, capsys, text):
    file = tmp_path / "other.yaml"
    file.write_text(text)
    assert main(["submit", str(file), "--host", "http://127.0.0.1:1"]) == 2
    assert "is no pipeline of KFP v2" in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["submit", str(tmp_path / "none.yaml"), "--host", "http://127.0.0.1:1"]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err
