"""`dmf serve` on a terminal: what it prints, and how it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from serving.client import RestRankingClient
from tests.serving.local_server.asking import Asker, until
from tests.serving.local_server.model_server_stand_in import write_stand_in
from tfx_pipeline.cli import main


class Command:
    """`dmf serve` in a process of its own, and what it has printed so far."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tfx_pipeline.cli", "serve", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text: str) -> None:
        until(lambda: any(text in line for line in self.lines) or self.process.poll() is not None, 600)
        assert any(text in line for line in self.lines), "\n".join(self.lines)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        status = self.process.wait(300)
        self._reader.join()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self._reader.join()


@pytest.fixture(scope="module")
def models(small_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for version in "12":
        shutil.copytree(small_models / version, folder / version)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(models, tmp_path, number):
    base = tmp_path / "demo"
    shutil.copytree(models / "1", base / "1")
    options = ("--port", 0, "--rest-port", 0, "--poll-seconds", 0.1, "--label", "stable=1", "--batch")
    with Command(base, *options) as command:
        command.wait_for("Ctrl-C")
        first, banner, signatures, note = command.lines
        assert re.fullmatch(r"version 1 available, loaded and warmed in [0-9.]+ s", first)
        address = r"(127\.0\.0\.1:\d+)"
        found = re.fullmatch(rf"demo from {base} at {address} \(gRPC\) and {address} \(REST\)", banner)
        target, rest_target = found.groups()
        assert signatures == "signatures: candidate, rank, recommend, retrieve, user_tower, user_vector"
        assert "production runs TensorFlow Serving: docs/SERVING.md" in note
        with Asker(target, "demo") as asker:
            assert asker.predict(label="stable")[0] == 1
        with RestRankingClient(rest_target, "demo") as client:
            assert client.model_status(deadline=60.0).available == (1,)
        (base / "3").mkdir()
        shutil.copytree(models / "2", base / "2.partial")
        command.wait_for("version 3 cannot be loaded")
        (base / "3").rmdir()
        (base / "2.partial").rename(base / "2")
        command.wait_for("version 1 unloaded")
        assert command.end(number) == 0
        # One line per event, and nothing that a library had to say.
        assert [line.partition(",")[0].partition(":")[0] for line in command.lines[4:]] == [
            "version 3 cannot be loaded",
            "version 2 available",
            "version 1 unloaded",
            "stopping; calls under way may end",
        ]


@pytest.mark.slow
def test_a_second_ctrl_c_ends_the_calls_under_way(models):
    with Command(models, "--port", 0) as command:
        command.wait_for("Ctrl-C")
        target = command.lines[1].split(" at ")[1].split()[0]
        asked = threading.Event()

        def questions():
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            asked.wait(60)

        with grpc.insecure_channel(target) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            # A call that goes on for as long as the client likes.
            answers = stub.ServerReflectionInfo(questions())
            assert next(answers).list_services_response.service
            command.process.send_signal(signal.SIGINT)
            command.wait_for("stopping; calls under way may end, a second Ctrl-C ends them")
            assert command.process.poll() is None
            assert command.end(signal.SIGINT) == 130
            asked.set()
        assert command.lines[-1] == "stopped at once"


@pytest.mark.slow
def test_tensorflow_serving_is_started_and_ended(models, tmp_path):
    binary = write_stand_in(tmp_path / "bin")
    arguments = (models, "--port", 0, "--name", "shop", "--engine", "tensorflow-serving")
    with Command(*arguments, TENSORFLOW_MODEL_SERVER=str(binary)) as command:
        command.wait_for("This is TensorFlow Serving")
        target = re.fullmatch(rf"shop from {models} at (127\.0\.0\.1:\d+) \(gRPC\)", command.lines[0])[1]
        with Asker(target, "shop") as asker:
            assert asker.prediction.Predict(asker.request(), timeout=60, wait_for_ready=True).outputs
        assert command.end(signal.SIGTERM) == 0
    with Command(*arguments, "--name", "broken", TENSORFLOW_MODEL_SERVER=str(binary)) as command:
        command.wait_for("stopped: TensorFlow Serving has ended with status 3")
        assert command.process.wait(300) == 1


def refused(capfd, *arguments) -> str:
    assert main(["serve", *map(str, arguments)]) == 1
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    return printed.err


def test_a_base_path_must_be_one(models, tmp_path, capfd):
    started = time.process_time()
    assert "nowhere does not exist; a model base path is a folder" in refused(capfd, tmp_path / "nowhere")
    assert f"give the folder that holds it: {models}" in refused(capfd, models / "1")
    assert "versions must be 'latest'" in refused(capfd, models, "--versions", "newest")
    # TensorFlow, which takes seconds, has not been asked.
    assert time.process_time() - started < 5


def test_a_port_that_is_taken(models, capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen at 127.0.0.1:{port}; is another server running" in refused(capfd, models, "--port", port)
        assert f"cannot listen at 127.0.0.1:{port}" in refused(capfd, models, "--port", 0, "--rest-port", port)
    assert "gRPC and REST want a port each" in refused(capfd, models, "--port", 8500, "--rest-port", 8500)


def test_tensorflow_serving_that_is_not_there(models, capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TENSORFLOW_MODEL_SERVER", raising=False)
    printed = refused(capfd, models, "--engine", "tensorflow-serving")
    assert "TensorFlow Serving is not installed here" in printed
    assert "docs/SERVING.md" in printed


def test_options_that_tensorflow_serving_does_not_keep_are_refused(models, capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("TENSORFLOW_MODEL_SERVER", str(write_stand_in(tmp_path / "bin")))
    printed = refused(capfd, models, "--engine", "tensorflow-serving", "--max-message-bytes", 1000)
    assert "--max-message-bytes 1000 cannot be kept: TensorFlow Serving takes requests of up to 2 GB" in printed
    printed = refused(capfd, models, "--engine", "tensorflow-serving", "--host", "127.0.0.1")
    assert "--host 127.0.0.1 cannot be kept: TensorFlow Serving listens at every address" in printed


def test_versions_that_are_none_are_a_sentence(models, capfd):
    for versions in ("9" * 5000, str(2**63), f"latest:{'9' * 5000}"):
        assert "versions must be 'latest'" in refused(capfd, models, "--versions", versions)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--port", "-1"),
        ("--port", "65536"),
        ("--rest-port", "x"),
        *(("--label", text) for text in ("stable", "stable=new", f"stable={2**63}", f"stable={'9' * 5000}")),
    ],
    ids=lambda text: f"{text:.30}",
)
def test_options_that_make_no_sense(models, capsys, option, value):
    with pytest.raises(SystemExit) as stopped:
        main(["serve", str(models), option, value])
    assert stopped.value.code == 2
    assert f"argument {option}: must be" in capsys.readouterr().err
