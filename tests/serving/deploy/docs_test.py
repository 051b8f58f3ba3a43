"""docs/DEPLOYMENT.md and the README of the files: what they name exists, and their blocks run."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "DEPLOYMENT.md"
README = ROOT / "serving" / "deploy" / "README.md"
TEXT = GUIDE.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def block(language, word):
    (found,) = [each for each in blocks(language) if word in each]
    return found


def test_links_lead_somewhere():
    for page in (GUIDE, README):
        links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        assert links
        assert [link for link in links if not (page.parent / link).exists()] == []


def test_readme_has_every_file(deploy):
    text = README.read_text(encoding="utf-8")
    files = {path.relative_to(deploy).as_posix() for path in deploy.rglob("*") if path.is_file()} - {"README.md"}
    named = set(re.findall(r"`([\w./-]+\.(?:config|txt|yaml))`", text))
    assert named <= files
    assert {name for name in files if not name.startswith("kubernetes/")} <= named


def test_every_file_of_a_command_exists(deploy):
    named = set(re.findall(r"serving/deploy/[\w./-]*\w", TEXT)) - {"serving/deploy/shop.config"}
    assert "serving/deploy/docker-compose.yaml" in named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_flags_exist(flags):
    named = set(re.findall(r"--((?:[a-z]+_)+[a-z]+)\b", TEXT))
    assert "grpc_max_threads" in named
    assert named <= flags


def test_one_version_of_the_image_everywhere(deploy):
    texts = {path: path.read_text(encoding="utf-8") for path in (GUIDE, *deploy.rglob("*")) if path.is_file()}
    found = {version for text in texts.values() for version in re.findall(r"tensorflow/serving:([\d.]+\d)", text)}
    assert found == {importlib.metadata.version("tensorflow-serving-api")}
    assert {
        version for text in texts.values() for version in re.findall(r"TensorFlow Serving (\d[\d.]+\d)", text)
    } == found


def test_variables_and_defaults_are_those_of_compose(deploy):
    text = (deploy / "docker-compose.yaml").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", re.sub("#.*", "", text)))
    rows = re.findall(r"^\| (`[A-Z_`, ]+) \| ([^|]*) \|", TEXT, re.MULTILINE)
    documented = {}
    for names, values in rows:
        documented.update(zip(re.findall(r"\w+", names), values.split(", "), strict=True))
    assert set(documented) == set(defaults)
    for name, value in documented.items():
        assert name == "MODEL_DIR" or value.strip("` ") == defaults[name], name


def test_server_metrics_are_ones_that_it_exposes():
    exposed = {
        ":tensorflow:serving:request_count",
        ":tensorflow:serving:request_latency_bucket",
        ":tensorflow:serving:runtime_latency_bucket",
        ":tensorflow:serving:batching_session:queuing_latency_sum",
        ":tensorflow:serving:batching_session:queuing_latency_count",
        ":tensorflow:cc:saved_model:load_attempt_count",
    }
    assert set(re.findall(r":tensorflow(?::\w+)+", TEXT)) == exposed


def test_client_metrics_are_those_of_the_client():
    from serving.client import CallRecord, PrometheusMetrics

    metrics = PrometheusMetrics()
    metrics(CallRecord("Predict", "rank", "demo", 1, "a:1", "UNAVAILABLE", 0.1, 1, 10, 0))
    exposed = metrics.render()
    for query in re.findall(r"`([^`]*dmf_client[^`]*)`", TEXT):
        (name,) = re.findall(r"dmf_client_\w+", query)
        series = next(line for line in exposed.splitlines() if line.startswith(name + "{"))
        (by,) = re.findall(r"by \(([^)]*)\)", query)
        assert all(f'{label}="' in series for label in by.split(", ")), query


def test_canary_snippet_asks_for_the_label():
    from serving.testing import FakeRankingServer

    snippet = block("python", "crc32")
    features = {"gender": "string", "age": "float32", "device": "string"}
    with FakeRankingServer("demo", features=features) as server:
        server.set_label("stable", 1)
        names: dict = {}
        exec(compile(snippet.replace("localhost:8500", server.target), str(GUIDE), "exec"), names)
    assert names["label"] == "stable"
    assert len(names["ranking"]) == 3 and names["ranking"].model_version == 1


def test_headless_snippet_makes_a_client():
    names: dict = {}
    exec(compile(block("python", "round_robin"), str(GUIDE), "exec"), names)
    names["client"].close()


@pytest.mark.slow
def test_reload_snippet_sends_the_configuration(capsys, monkeypatch, server_config):
    import grpc
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    class ModelService(model_service_pb2_grpc.ModelServiceServicer):
        def HandleReloadConfigRequest(self, request, context):
            received.append(request)
            return model_management_pb2.ReloadConfigResponse()

    received: list = []
    server = grpc.server(futures.ThreadPoolExecutor(1))
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.chdir(ROOT)
    try:
        snippet = block("python", "ReloadConfigRequest").replace("localhost:8500", f"127.0.0.1:{port}")
        exec(compile(snippet, str(GUIDE), "exec"), {})
    finally:
        server.stop(None)
    (request,) = received
    assert list(request.config.model_config_list.config) == [server_config("models.canary.config")]
    assert capsys.readouterr().out.split() == ["0"]


def test_tls_commands_write_the_file(tmp_path, parse):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    command = ["bash", "-e", "-c", block("sh", "openssl")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=600)
    tls = parse("SSLConfig", (tmp_path / "ssl.config").read_text(encoding="utf-8"))
    assert tls.server_key == (tmp_path / "server.key").read_text(encoding="utf-8")
    assert tls.server_cert == (tmp_path / "server.crt").read_text(encoding="utf-8")
    assert "PRIVATE KEY" in tls.server_key and "CERTIFICATE" in tls.server_cert
    assert (tmp_path / "ssl.config").stat().st_mode & 0o077 == 0


def test_the_files_are_in_the_package(deploy):
    program = (
        "import json, setuptools\nfrom distutils.core import run_setup\n"
        "print(json.dumps(run_setup('setup.py', stop_after='init').package_data))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    patterns = json.loads(result.stdout.splitlines()[-1])
    packed = {path for pattern in patterns["serving"] for path in deploy.parent.glob(pattern)}
    assert packed == {path for path in deploy.rglob("*") if path.is_file() and not path.name.startswith(".")}
    assert os.path.commonpath(packed) == str(deploy)
