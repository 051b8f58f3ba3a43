"""A push is whole or it is not there, whatever the blessings, the clock and kills do."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_model_analysis.proto import metrics_for_slice_pb2
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from serving import contract
from serving.export.metadata import read_json
from serving.manifest import ChangedFiles, check_version
from tfx_pipeline.components.pusher import executor
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files import versions, writing
from tfx_pipeline.trained.version import Version

FILES = ["saved_model.pb", "variables/variables.index", "assets.extra/tf_serving_warmup_requests"]


def write_evaluation(folder: Path, auc: float) -> None:
    """What the Evaluator leaves, of one metric of one split."""
    folder.mkdir(exist_ok=True)
    metrics = metrics_for_slice_pb2.MetricsForSlice()
    metrics.slice_key.single_slice_keys.add(column="split", bytes_value=b"test")
    entry = metrics.metric_keys_and_values.add()
    entry.key.name, entry.value.double_value.value = "auc", auc
    for file, record in (("metrics-00000-of-00001", metrics.SerializeToString()), ("validations", b"")):
        with tf.io.TFRecordWriter(str(folder / f"{file}.tfrecord")) as writer:
            writer.write(record)


def tree(folder: Path) -> dict[str, str]:
    """The model's files with their content."""
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    for added in (contract.EVALUATION_FILE, contract.MANIFEST_FILE):
        files.pop(added, None)
    return files


class Push:
    """One model to push, and what the executor is given."""

    def __init__(self, folder: Path):
        self.folder, self.base = folder, folder / "serving"
        self.source = folder / "model" / "Format-Serving"
        destination = pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(self.base))
        )
        write_evaluation(folder / "evaluation", 0.75)
        self.properties = {"push_destination": proto_utils.proto_to_json(destination)}

    def __call__(self, content: str = "first", *, blessed: int | None = 1, infra: int | None = 1):
        """Pushes a model whose files hold `content`; None leaves a blessing out."""
        for file in FILES:
            path = self.source / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        inputs = self.inputs()
        if blessed is not None:
            inputs["model_blessing"] = [standard_artifacts.ModelBlessing()]
            inputs["model_blessing"][0].set_int_custom_property("blessed", blessed)
        if infra is not None:
            inputs["infra_blessing"] = [standard_artifacts.InfraBlessing()]
            # As ServingGate writes it.
            inputs["infra_blessing"][0].set_int_custom_property("blessed", infra)
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(self.folder / "pushed")
        executor.Executor().Do(inputs, {"pushed_model": [pushed]}, self.properties)
        return pushed

    def inputs(self) -> dict:
        """Model and evaluation, without a blessing."""
        model, evaluation = standard_artifacts.Model(), standard_artifacts.ModelEvaluation()
        model.uri, evaluation.uri = str(self.folder / "model"), str(self.folder / "evaluation")
        return {"model": [model], "evaluation": [evaluation]}

    def versions(self) -> list[str]:
        return sorted(path.name for path in self.base.iterdir()) if self.base.exists() else []


@pytest.fixture
def push(tmp_path) -> Push:
    return Push(tmp_path)


@pytest.mark.parametrize("infra", [None, 0, 1])
@pytest.mark.parametrize("blessed", [None, 0, 1])
def test_only_a_model_that_nothing_speaks_against_is_pushed(push, blessed, infra):
    pushed = push(blessed=blessed, infra=infra)
    wanted = blessed != 0 and infra != 0
    assert pushed.get_int_custom_property("pushed") == int(wanted)
    assert len(push.versions()) == int(wanted)
    assert Path(pushed.uri).exists() == wanted


def test_a_version_holds_the_whole_model_and_the_artifact_says_where(push):
    before = int(time.time())
    pushed = push()
    (version,) = push.versions()
    assert before <= int(version) <= time.time() + 1
    assert tree(push.base / version) == dict.fromkeys(FILES, "first") == tree(Path(pushed.uri))
    assert pushed.get_string_custom_property("pushed_destination") == str(push.base / version)
    assert pushed.get_string_custom_property("pushed_version") == version


def test_metrics_beside_a_refit_say_of_which_model_they_are(push):
    push()
    metadata = push.source / contract.METADATA_FILE
    metadata.write_text('{"refit": {"epochs": 2, "note": "they are of the other"}}')
    push()
    first, refit = (read_json(push.base / version, contract.EVALUATION_FILE) for version in push.versions())
    assert "note" not in first
    assert refit == {**first, "note": "they are of the other"}


def test_each_push_is_a_higher_version_also_within_a_second_and_after_the_clock_went_back(push, monkeypatch):
    monkeypatch.setattr(versions.time, "time", lambda: 1000.9)
    pushed = [push(content).get_string_custom_property("pushed_version") for content in ("a", "b", "c")]
    monkeypatch.setattr(versions.time, "time", lambda: 5.0)
    pushed.append(push("d").get_string_custom_property("pushed_version"))
    assert pushed == ["1000", "1001", "1002", "1003"]
    assert [tree(push.base / version)["saved_model.pb"] for version in pushed] == ["a", "b", "c", "d"]
    assert Version.find(push.base).path.name == "1003"


def test_what_is_no_version_is_left_alone(push):
    (push.base / "notes").mkdir(parents=True)
    (push.base / "readme.txt").write_text("keep")
    push()
    assert {"notes", "readme.txt"} < set(push.versions())


copy_dir = io_utils.copy_dir


class Killed(BaseException):
    """Not an Exception: nothing may catch it and tidy up, as nothing does after SIGKILL."""


def copy_half(source: str, target: str, **options) -> None:
    copy_dir(source, target, allow_regex_patterns=["variables"])
    raise Killed


@pytest.fixture
def killed_push(push, monkeypatch) -> Push:
    """A first version pushed, and a second push that died while it copied."""
    push("first")
    with monkeypatch.context() as patched:
        patched.setattr(executor.io_utils, "copy_dir", copy_half)
        # The dead clear nothing up.
        patched.setattr(writing, "remove", lambda address: None)
        with pytest.raises(Killed):
            push("second")
    return push


def test_a_kill_while_copying_leaves_no_version_and_the_old_one_untouched(killed_push):
    old, incoming = sorted(killed_push.versions(), key=lambda name: name.startswith("."))
    assert incoming.startswith(".incoming-")
    # Half of it is really there, and still nobody takes it for a version.
    assert (killed_push.base / incoming / "variables" / "variables.index").exists()
    assert not incoming.isdigit()
    assert Version.find(killed_push.base).path.name == old
    assert tree(killed_push.base / old) == dict.fromkeys(FILES, "first")


def test_the_next_push_removes_what_a_killed_one_left(killed_push):
    second = killed_push("second").get_string_custom_property("pushed_version")
    assert not [name for name in killed_push.versions() if name.startswith(".")]
    assert len(killed_push.versions()) == 2
    assert tree(killed_push.base / second) == dict.fromkeys(FILES, "second")


def test_a_kill_between_copy_and_rename_leaves_no_version(push, monkeypatch):
    push("first")

    def die(*paths: str) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", die)
        with pytest.raises(Killed):
            push("second")
    assert tree(Version.find(push.base).path) == dict.fromkeys(FILES, "first")
    push("third")
    assert tree(Version.find(push.base).path) == dict.fromkeys(FILES, "third")
    assert len(push.versions()) == 2


def test_a_full_disk_pushes_nothing(push, monkeypatch):
    def full(source: str, target: str) -> None:
        Path(target).mkdir(exist_ok=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(executor.io_utils, "copy_dir", full)
    with pytest.raises(OSError, match="No space left"):
        push()
    assert not [name for name in push.versions() if name.isdigit()]


def test_a_model_that_is_gone_is_an_error_and_no_empty_version(push):
    push("first")
    shutil.rmtree(push.source)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(push.folder / "pushed_again")
    with pytest.raises(ModelError, match=r"model to push is gone: .*Format-Serving holds no saved_model\.pb"):
        executor.Executor().Do(push.inputs(), {"pushed_model": [pushed]}, push.properties)
    assert len(push.versions()) == 1


def test_the_metrics_go_with_the_pushed_copy_and_the_model_stays_as_it_was(push):
    pushed = push()
    metrics = {"metrics": {"test": {"overall": {"auc": 0.75}}}}
    for copy in (Version.find(push.base).path, Path(pushed.uri)):
        assert read_json(copy, contract.EVALUATION_FILE) == metrics
        check_version(copy, checksums=True)
        (copy / "saved_model.pb").write_text("cut")
        with pytest.raises(ChangedFiles, match=r"saved_model\.pb has 3 bytes instead of 5"):
            check_version(copy)
    assert not (push.source / contract.EVALUATION_FILE).exists()
    write_evaluation(push.folder / "evaluation", 0.5)
    push()
    assert read_json(Version.find(push.base).path, contract.EVALUATION_FILE)["metrics"]["test"]["overall"]["auc"] == 0.5


def test_without_the_evaluation_nothing_is_pushed(push):
    shutil.rmtree(push.folder / "evaluation")
    with pytest.raises(ModelError, match="no evaluation in"):
        push()
    assert push.versions() == []
