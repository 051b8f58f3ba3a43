"""Versions come and go as in TensorFlow Serving."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.contract import WARMUP_FILE
from serving.export.warmup import write_warmup
from serving.local_server.policy import VersionPolicy
from serving.local_server.server import LocalServer
from tests.serving.local_server.asking import RANK, Asker, refusal, until

POLL = 0.05


def serving(folder, **options):
    events = []
    server = LocalServer(folder.path, poll_seconds=POLL, on_event=lambda event: events.append(event), **options)
    server.events = events
    return server


def assert_scores(asker, answers, expected, **spec):
    version, outputs = asker.predict(**spec)
    assert version == answers
    np.testing.assert_allclose(outputs["score"], expected[version], atol=1e-6)


def test_a_folder_with_a_number_that_no_message_can_carry_is_none(folder, expected):
    folder.add(1)
    folder.add(2**63, 2)
    with serving(folder) as server, Asker(server.target) as asker:
        assert_scores(asker, 1, expected)
        assert asker.states() == {1: "AVAILABLE"}
    assert not [event for event in server.events if event.problem]


def test_a_newer_version_takes_over_and_the_old_one_ends(folder, expected):
    folder.add(1)
    with serving(folder) as server, Asker(server.target) as asker:
        assert server.name == "small"
        assert_scores(asker, 1, expected)
        folder.add(2)
        until(lambda: asker.states() == {1: "END", 2: "AVAILABLE"})
        assert_scores(asker, 2, expected)
        assert refusal(lambda: asker.predict(version=1))[0] == "NOT_FOUND"
        # A roll-back: the newest is what lies there.
        folder.add(3)
        until(lambda: server.available == [3])
        folder.remove(3)
        until(lambda: server.available == [2])
        assert_scores(asker, 2, expected)
        assert [event.message.partition(",")[0] for event in server.events if not event.problem] == [
            "version 1 available",
            "version 2 available",
            "version 1 unloaded",
            "version 3 available",
            "version 2 unloaded",
            "version 2 available",
            "version 3 unloaded",
        ]
    assert not [event for event in server.events if event.problem]


def test_folders_without_a_number_are_no_versions(folder, expected):
    folder.add(1)
    folder.add(2).rename(folder.path / "2.partial")
    folder.add(3).rename(folder.path / "three")
    (folder.path / "4").write_text("a file")
    with serving(folder, policy=VersionPolicy(latest=None)) as server:
        assert server.available == [1]


@pytest.mark.parametrize("damage", ["truncated graph", "no variables", "truncated variables", "empty folder"])
def test_a_corrupt_version_changes_nothing_and_is_tried_again_when_mended(folder, expected, damage):
    folder.add(1)
    broken = folder.models.parent / f"{folder.path.parent.name}-broken"
    shutil.copytree(folder.models / "2", broken)
    graph, data = broken / "saved_model.pb", next((broken / "variables").glob("*.data*"))
    if damage == "truncated graph":
        graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    elif damage == "no variables":
        shutil.rmtree(broken / "variables")
    elif damage == "truncated variables":
        data.write_bytes(data.read_bytes()[:1])
    else:
        shutil.rmtree(broken)
        broken.mkdir()
    with serving(folder) as server, Asker(server.target) as asker:
        broken.rename(folder.path / "2")
        until(lambda: any(event.problem for event in server.events))
        status = asker.status()[2]
        assert asker.states() == {1: "AVAILABLE", 2: "END"}
        assert status.status.error_code != 0
        assert str(folder.path / "2") in status.status.error_message
        # What TensorFlow has to say, not the line above it.
        assert not status.status.error_message.endswith(":")
        assert asker.status()[1].status.error_code == 0
        assert_scores(asker, 1, expected)
        # Many polls later there is still one line about it.
        threading.Event().wait(10 * POLL)
        (problem,) = [event.message for event in server.events if event.problem]
        assert "version 2 cannot be loaded" in problem
        assert "still serving 1" in problem

        shutil.copytree(folder.models / "2", folder.path / "2", dirs_exist_ok=True)
        until(lambda: server.available == [2])
        assert_scores(asker, 2, expected)
        assert asker.status()[2].status.error_code == 0


def test_a_version_that_is_being_copied_is_served_once_it_is_whole(folder, expected):
    folder.add(1)
    with serving(folder) as server, Asker(server.target) as asker:
        files = [path for path in sorted((folder.models / "2").rglob("*")) if path.is_file()]
        for path in files:
            target = folder.path / "2" / path.relative_to(folder.models / "2")
            target.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            with target.open("wb") as copy:
                for half in (content[: len(content) // 2], content[len(content) // 2 :]):
                    copy.write(half)
                    copy.flush()
                    threading.Event().wait(2 * POLL)
            version, outputs = asker.predict()
            np.testing.assert_allclose(outputs["score"], expected[version], atol=1e-6)
        until(lambda: server.available == [2])
        assert_scores(asker, 2, expected)


@pytest.mark.parametrize(
    ("signature", "inputs", "code"),
    [
        ("rank", {**RANK, "age": np.array([b"old"], object)}, 3),
        ("rank", {"user_id": RANK["user_id"]}, 3),
        ("classify", RANK, 9),
    ],
)
def test_a_version_whose_warm_up_fails_is_not_served(folder, expected, signature, inputs, code):
    folder.add(1)
    with serving(folder) as server, Asker(server.target) as asker:
        partial = folder.add(2).rename(folder.path / "2.partial")
        write_warmup(
            partial / "assets.extra/tf_serving_warmup_requests", "small", [("rank", RANK), (signature, inputs)]
        )
        partial.rename(folder.path / "2")
        until(lambda: len(server.events) == 2)
        assert asker.states() == {1: "AVAILABLE", 2: "END"}
        status = asker.status()[2].status
        assert status.error_code == code
        assert "warm-up request 1" in status.error_message
        assert_scores(asker, 1, expected)


def test_the_name_is_that_of_the_warm_up_requests(folder):
    write_warmup(folder.add(1) / WARMUP_FILE, "older", [("rank", RANK)])
    write_warmup(folder.add(2) / WARMUP_FILE, "shop", [("rank", RANK)])
    with serving(folder) as server, Asker(server.target, "shop") as asker:
        assert server.name == "shop"
        assert asker.predict()[0] == 2


def test_without_versions_the_server_waits_and_health_says_so(folder, expected):
    with serving(folder) as server, Asker(server.target) as asker:
        health = health_pb2_grpc.HealthStub(asker.channel)

        def serves(service=""):
            return health.Check(health_pb2.HealthCheckRequest(service=service)).status

        assert serves() == health_pb2.HealthCheckResponse.NOT_SERVING
        assert refusal(asker.predict) == ("NOT_FOUND", "Servable not found for request: Latest(small)")
        assert refusal(asker.status) == ("NOT_FOUND", "Could not find any versions of model small")
        assert "waiting for a folder named by a number" in server.events[0].message
        folder.add(1)
        until(lambda: serves() == health_pb2.HealthCheckResponse.SERVING)
        assert serves("tensorflow.serving.PredictionService") == health_pb2.HealthCheckResponse.SERVING
        assert_scores(asker, 1, expected)
        folder.remove(1)
        until(lambda: serves() == health_pb2.HealthCheckResponse.NOT_SERVING)
        assert refusal(asker.predict)[0] == "NOT_FOUND"


def test_what_is_loaded_stays_when_the_base_path_goes_away(folder, expected):
    folder.add(1)
    with serving(folder) as server, Asker(server.target) as asker:
        folder.path.rename(folder.path.with_name("away"))
        until(lambda: any(event.problem for event in server.events))
        assert_scores(asker, 1, expected)
        folder.path.with_name("away").rename(folder.path)
        folder.add(2)
        until(lambda: server.available == [2])


def test_policies_and_labels(folder, expected):
    for number in (1, 2, 3):
        folder.add(number)
    with serving(folder, policy=VersionPolicy.parse("latest:2"), labels={"stable": 2, "gone": 1}) as server:
        assert server.available == [2, 3]
        with Asker(server.target) as asker:
            assert_scores(asker, 3, expected)
            assert_scores(asker, 2, expected, version=2)
            assert_scores(asker, 2, expected, label="stable")
            server.set_label("stable", 3)
            assert_scores(asker, 3, expected, label="stable")
            assert refusal(lambda: asker.predict(label="gone")) == (
                "NOT_FOUND",
                "Servable not found for request: Specific(small, 1)",
            )
            assert refusal(lambda: asker.predict(label="canary")) == (
                "INVALID_ARGUMENT",
                "Unrecognized servable version label: canary",
            )


def test_a_call_keeps_its_version_until_it_ends(folder, expected):
    folder.add(1)
    with serving(folder) as server, Asker(server.target) as asker:
        with server._versions.use(asker.request().model_spec) as version:
            folder.add(2)
            until(lambda: asker.states() == {1: "UNLOADING", 2: "AVAILABLE"})
            assert refusal(lambda: asker.predict(version=1))[0] == "NOT_FOUND"
            assert_scores(asker, 2, expected)
            np.testing.assert_allclose(version.run("rank", RANK)["score"], expected[1], atol=1e-6)
        until(lambda: asker.states() == {1: "END", 2: "AVAILABLE"})
