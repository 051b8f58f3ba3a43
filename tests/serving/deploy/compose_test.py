"""docker-compose.yaml: flags, mounts and ports fit the other files; the health check is run."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from contextlib import contextmanager

import pytest


def flags_of(service):
    words = [*service["entrypoint"][1:], *service.get("command", [])]
    assert all(word.startswith("--") and "=" in word for word in words)
    return dict(word.removeprefix("--").split("=", 1) for word in words)


@pytest.fixture(params=["serving", "serving-gpu", "serving-gpu-batching"])
def service(request, compose):
    return compose["services"][request.param]


def test_one_service_a_profile(compose):
    assert {name: service["profiles"] for name, service in compose["services"].items()} == {
        "serving": ["cpu"],
        "serving-gpu": ["gpu"],
        "serving-gpu-batching": ["gpu-batching"],
    }


def test_only_keys_that_compose_has(compose):
    assert set(compose) == {"name", "services", "x-serving"}
    known = {"init", "restart", "entrypoint", "command", "ports", "volumes", "healthcheck", "profiles", "image"}
    for service in compose["services"].values():
        assert set(service) <= {*known, "deploy", "environment"}
        assert set(service["deploy"]["resources"]) <= {"limits", "reservations"}
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
        assert set(service["healthcheck"]) == {"test", "interval", "timeout", "retries", "start_period"}


def test_every_flag_exists_and_is_given_once(service, flags):
    given = flags_of(service)
    assert set(given) <= flags
    assert len(given) == len(service["entrypoint"]) - 1 + len(service.get("command", []))


def test_image_fits_the_profile(compose):
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert images["serving-gpu"] == images["serving-gpu-batching"] == images["serving"] + "-gpu"


def test_published_ports_are_those_of_the_flags(service):
    given = flags_of(service)
    assert service["ports"] == [f"127.0.0.1:{given[name]}:{given[name]}" for name in ("port", "rest_api_port")]


def test_mounted_folders_and_files_exist(service, deploy, server_config):
    mounts = {target: source for source, target, mode in (volume.split(":") for volume in service["volumes"])}
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert (deploy / mounts["/config"]).resolve() == deploy
    model = server_config("models.config")
    # The demo's push folder, which need not be there yet.
    assert (deploy / mounts[model.base_path]).resolve() == deploy.parents[1] / "runs" / "demo" / "serving" / model.name
    files = [value for name, value in flags_of(service).items() if name.endswith("_file")]
    assert len(files) >= 2
    for file in files:
        folder, name = file.rsplit("/", 1)
        assert folder in mounts and (deploy / name).is_file(), file


def test_batching_is_asked_for_by_name_and_needs_both_flags(compose):
    batching = {"enable_batching": "true", "batching_parameters_file": "/config/batching_parameters.txt"}
    given = {name: flags_of(service) for name, service in compose["services"].items()}
    assert given["serving"] == given["serving-gpu"]
    assert given["serving-gpu-batching"] == given["serving"] | batching
    assert not set(batching) & set(given["serving"])


def test_threads_fit_the_processors(service):
    given = flags_of(service)
    assert given["tensorflow_intra_op_parallelism"] == service["deploy"]["resources"]["limits"]["cpus"]
    assert int(given["grpc_max_threads"]) > 1000, "1000 calls at once exhausted the default"


def test_channel_arguments_are_pairs_of_names_and_numbers(service):
    pairs = dict(pair.split("=") for pair in flags_of(service)["grpc_channel_arguments"].split(","))
    assert all(name.startswith("grpc.") and int(value) > 0 for name, value in pairs.items())


@contextmanager
def rest_server(status, body):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *args):
            pass

    paths = []
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, paths
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def check_health(service, port):
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    command = [word.replace("/8501", f"/{port}") for word in command]
    return subprocess.run(command, capture_output=True, timeout=120).returncode


def version(state, error="OK"):
    return {"version": "1", "state": state, "status": {"error_code": error, "error_message": ""}}


@pytest.mark.parametrize(
    ("status", "versions", "healthy"),
    [
        (200, [version("AVAILABLE")], True),
        (200, [version("LOADING"), version("AVAILABLE")], True),
        (200, [version("LOADING")], False),
        (200, [version("END", "UNAVAILABLE")], False),
        (404, [], False),
    ],
)
def test_health_check_asks_the_model_status(service, server_config, status, versions, healthy):
    with rest_server(status, {"model_version_status": versions}) as (port, paths):
        assert (check_health(service, port) == 0) == healthy
    assert paths == [f"/v1/models/{server_config('models.config').name}"]


def test_health_check_fails_where_nobody_listens(service):
    with rest_server(200, {}) as (port, _):
        pass
    assert check_health(service, port) != 0
