"""Captured requests through both sides: equal as exported, and the first stage named once something was changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving import contract
from serving.export.metadata import read_json, write_json
from serving.export.servable import Servable, request_arrays, retrieval_arrays
from tfx_pipeline.cli import main
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.trained.replay.replay import replay
from tfx_pipeline.trained.replay.report import ReplayReport
from tfx_pipeline.trained.version import Version

ROOT = Path(__file__).resolve().parents[4]
REQUEST = {
    "user_id": "u1",
    "history": ["i1", "i3", "i5"],
    "candidates": ["i2", "i1", "i39", "never seen"],
    "gender": "f",
    "age": 30.0,
    "income": 1.0,
}


@pytest.fixture
def model(trained, tmp_path) -> Path:
    """A copy of the exported model as version 7, to be changed."""
    version = tmp_path / "tiny" / "7"
    shutil.copytree(trained / "Format-Serving", version)
    return version


def ask(version: Path, file: Path | None = None, run: Path | None = None) -> ReplayReport:
    return replay(Version(version), file, run=run, tolerance=1e-4)


def json_lines(folder: Path, *requests: dict) -> Path:
    file = folder / "captured.jsonl"
    file.write_text("\n".join(json.dumps(request) for request in requests) + "\n\n")
    return file


def first_stages(found: ReplayReport) -> list[str]:
    return [entry.stage for entry in found.requests]


def answers(version: Path) -> dict[str, dict[str, np.ndarray]]:
    """What the model answers to `REQUEST`, by signature."""
    request = {contract.HISTORY_ITEM_ID: REQUEST["history"], contract.CANDIDATE_ITEM_ID: REQUEST["candidates"]}
    request |= {name: value for name, value in REQUEST.items() if name not in ("history", "candidates")}
    arrays = request_arrays(request, contract.ModelContract.read(version))
    user = {name: value for name, value in arrays.items() if name != contract.CANDIDATE_ITEM_ID}
    with Servable(version, optimised=False) as servable:
        return {
            contract.RANK: (arrays, servable.run(contract.RANK, arrays)),
            contract.USER_TOWER: (user, servable.run(contract.USER_TOWER, user)),
        }


def capture(file: Path, records: list[tuple], version: int = 7) -> Path:
    """Writes calls as TensorFlow Serving's request logging does."""
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(prediction_log_pb2.PredictionLog(session_run_log={}).SerializeToString())
        for signature, inputs, outputs in records:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.model_spec.signature_name = signature
            log.predict_log.response.model_spec.version.value = version
            for name, value in inputs.items():
                log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            for name, value in outputs.items():
                log.predict_log.response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            writer.write(log.SerializeToString())
    return file


def test_a_model_in_bfloat16_is_compared_with_keras_in_bfloat16(rounded):
    found = replay(Version(rounded / "Format-Serving"), None, run=None)
    assert found.tolerance == contract.SCORE_TOLERANCE[contract.BFLOAT16]
    assert found.equal
    assert found.stages["transformed features"].largest_difference == 0
    # The same sums, rounded where the graph's optimiser lets them be: nearer than float32 is.
    assert found.stages["score"].largest_difference < 0.005


def test_the_warm_up_file_of_an_exported_model_is_equal_at_every_stage(model, capsys):
    assert main(["replay", "--model", str(model.parent), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["equal"], found["count"], found["requests"]) == (True, 11, [])
    assert found["file"] == str(model / contract.WARMUP_FILE)
    requests = {stage: entry["requests"] for stage, entry in found["stages"].items()}
    # Of five signatures twice and of `explain` once: user_tower has no score, and the states of the two candidate ones
    # came with them.
    assert requests == {
        "raw features": 11,
        "transformed features": 11,
        "user state": 7,
        "score": 9,
        "captured answer": 0,
    }
    assert all(entry["different"] == 0 for entry in found["stages"].values())
    assert found["stages"]["score"]["largest_difference"] < 1e-5


@pytest.mark.slow
def test_a_process_that_has_imported_no_model_replays_it(model, tmp_path):
    file = json_lines(tmp_path, REQUEST)
    command = [sys.executable, "-m", "tfx_pipeline.cli", "replay", str(file), "--model", str(model)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)
    assert result.returncode == 0, result.stderr
    assert "equal at every stage, to 0.0001" in result.stdout
    assert result.stderr == ""


def test_captured_answers_are_compared_with_those_of_now(model, tmp_path):
    made = answers(model)
    inputs, outputs = made[contract.RANK]
    padded = np.concatenate([outputs["score"], np.full((1, 3), 0.5, np.float32)], axis=1)
    other = outputs["score"] + np.array([0, 0.03, 0, 0], np.float32)
    records = [
        (contract.RANK, inputs, outputs),
        (contract.RANK, inputs, {"score": padded}),
        (contract.USER_TOWER, *made[contract.USER_TOWER]),
        (contract.RANK, inputs, {"score": other}),
        (contract.RANK, inputs, {}),
    ]
    found = ask(model, capture(tmp_path / "log", records))
    assert found.count == 5
    (different,) = found.requests
    assert (different.request, different.stage, different.captured_version) == (3, "captured answer", 7)
    assert different.difference == pytest.approx(0.03, rel=1e-3)
    assert found.stages["captured answer"].requests == 4


@pytest.mark.slow
def test_pages_out_of_the_catalogue_are_compared_by_user_and_captured_answer(recommending, tmp_path):
    version = tmp_path / "tiny" / "7"
    shutil.copytree(recommending / "Format-Serving", version)
    user = {contract.HISTORY_ITEM_ID: REQUEST["history"]}
    user |= {name: REQUEST[name] for name in ("user_id", "gender", "age", "income")}
    asked, too_many = (retrieval_arrays(user, k, ["i1"], contract.ModelContract.read(version)) for k in (5, 11))
    with Servable(version, optimised=False) as servable:
        pages = {name: servable.run(name, asked) for name in (contract.RETRIEVE, contract.RECOMMEND)}
    swapped = {**pages[contract.RECOMMEND], contract.ITEM_ID: pages[contract.RECOMMEND][contract.ITEM_ID][:, ::-1]}
    higher = {**pages[contract.RETRIEVE], contract.SCORE: pages[contract.RETRIEVE][contract.SCORE] + 0.5}
    records = [
        *((name, asked, page) for name, page in pages.items()),
        (contract.RECOMMEND, asked, swapped),
        (contract.RETRIEVE, asked, higher),
        (contract.RECOMMEND, too_many, {}),
    ]
    found = ask(version, capture(tmp_path / "log", records))
    assert [(entry.request, entry.signature, entry.stage) for entry in found.requests] == [
        (2, contract.RECOMMEND, "captured answer"),
        (3, contract.RETRIEVE, "captured answer"),
        (4, contract.RECOMMEND, "raw features"),
    ]
    order, score, refused = (entry.detail for entry in found.requests)
    assert order.startswith(f"{contract.ITEM_ID}: 4 of 5 values")
    assert score == contract.SCORE
    assert "k must be from 1 to 10" in refused
    # Keras has no catalogue to search.
    assert {stage: entry.requests for stage, entry in found.stages.items()} == {
        "raw features": 5,
        "transformed features": 4,
        "user state": 4,
        "score": 0,
        "captured answer": 4,
    }


def test_json_lines_with_scores_and_content(model, tmp_path, capsys):
    scores = answers(model)[contract.RANK][1]["score"][0].tolist()
    content = {"image": [[0.0] * 4] * 3 + [[1.0, 2.0, 3.0, 4.0]]}
    file = json_lines(
        tmp_path, {**REQUEST, "score": scores}, {**REQUEST, "content": content}, {**REQUEST, "score": [1, 0, 1, 0]}
    )
    assert main(["replay", str(file), "--model", str(model)]) == 1
    printed = capsys.readouterr().out
    assert "3 requests of" in printed
    assert "captured answer" in printed
    found = ask(model, file)
    assert [(entry.request, entry.signature) for entry in found.requests] == [(2, "rank")]
    assert found.stages["score"].requests == 3


def _swap_items(model: Path, run: Path) -> None:
    """The exported vocabulary of items in another order."""
    file = model / "assets" / "items"
    file.write_text("\n".join(reversed(file.read_text().splitlines())) + "\n")


def _change(pick: Callable) -> Callable:
    def change(model: Path, run: Path) -> None:
        loaded = keras.models.load_model(run / "model.keras")
        weight = pick(loaded)
        weight.assign(weight + 0.25)
        loaded.save(run / "model.keras")

    return change


@pytest.mark.parametrize(
    ("change", "stage", "detail"),
    [
        (_swap_items, "transformed features", "candidate_index"),
        (_change(lambda model: model.user_embedding.embeddings), "user state", "user_part"),
        (_change(lambda model: model.head.trainable_variables[-1]), "score", "score"),
    ],
    ids=["vocabulary", "user weights", "last weights"],
)
def test_the_first_stage_that_differs_is_named(model, trained, tmp_path, change, stage, detail):
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    metadata = read_json(model, contract.METADATA_FILE)
    metadata["artifacts"]["model_run"] = str(run)
    write_json(model, contract.METADATA_FILE, metadata)
    change(model, run)
    found = ask(model, json_lines(tmp_path, REQUEST))
    assert first_stages(found) == [stage]
    assert found.requests[0].detail.startswith(detail)
    if stage != "transformed features":
        assert found.requests[0].difference > 1e-4
        assert found.stages["transformed features"].different == 0


def test_inputs_that_the_model_does_not_take_are_raw_features_that_differ(model, tmp_path):
    inputs, _ = answers(model)[contract.RANK]
    without = {name: value for name, value in inputs.items() if name != "gender"}
    nan = {
        contract.CONTENT_PREFIX + name: np.full((1, 4, width), np.nan, np.float32)
        for name, width in (("text", 9), ("image", 4))
    }
    records = [
        (contract.RANK, without, {}),
        (contract.RANK, {**inputs, "age": np.array([3])}, {}),
        ("classify", inputs, {}),
        (contract.RANK_WITH_CONTENT, {**inputs, **nan}, {}),
    ]
    found = ask(model, capture(tmp_path / "log", records))
    assert first_stages(found) == ["raw features"] * 4
    details = [entry.detail for entry in found.requests]
    assert details[0] == "gender is missing"
    assert details[1] == "age is int64 [1], expected float32 [?]"
    assert details[2].startswith("the model has no signature 'classify', it has candidate, ")
    assert "must be finite" in details[3]


def test_a_run_that_was_moved_is_found_by_its_output_folder(model, tiny_world, trained, tmp_path):
    metadata = read_json(model, contract.METADATA_FILE)
    places = {
        "model_run": trained / "run",
        "transform_graph": tiny_world.transform_graph,
        "content": tiny_world.content,
    }
    for name, source in places.items():
        metadata["artifacts"][name] = f"/gone/artifacts/Node/{name}/7"
        shutil.copytree(source, tmp_path / "moved/artifacts/Node" / name / "7")
    write_json(model, contract.METADATA_FILE, metadata)
    with pytest.raises(ModelError, match=r"model_run of the run .* is not there: /gone/.*give .* in --run"):
        ask(model)
    with pytest.raises(ModelError, match="is --run the output folder of that run"):
        ask(model, run=tmp_path)
    assert ask(model, run=tmp_path / "moved").equal


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2: .*Expecting property name"),
        ("[1]", "line 2: must be an object, it is list"),
        ('{"user_id": "u"}', "line 2: candidate_item_id is missing"),
        ('{"user_id": "u", "candidates": ["a"], "colour": 1}', r"line 2: unknown request keys \['colour'\]"),
        (
            '{"user_id": "u", "candidates": ["a"], "content": {"audio": [[1]]}}',
            r"unknown request keys \['candidate_con",
        ),
        ('{"user_id": "u", "candidates": ["a"], "age": "old"}', "line 2: could not convert string to float"),
    ],
)
def test_a_line_that_is_no_request_is_named(model, tmp_path, line, message):
    from tfx_pipeline.trained.replay.requests import read_captured

    file = json_lines(tmp_path, REQUEST)
    file.write_text(file.read_text().strip() + "\n" + line)
    with pytest.raises(DataError, match=message):
        list(read_captured(file, contract.ModelContract.read(model)))


def test_files_that_hold_no_requests_are_refused(model, tmp_path):
    from tfx_pipeline.trained.replay.requests import read_captured

    model_contract = contract.ModelContract.read(model)
    with pytest.raises(DataError, match="no such file; expected TFRecords"):
        list(read_captured(tmp_path / "nothing", model_contract))
    (tmp_path / "text").write_text("no records, but a sentence of some length")
    with pytest.raises(DataError, match=r"cannot be read as TFRecords of PredictionLog: .*JSON lines end in"):
        list(read_captured(tmp_path / "text", model_contract))
    with tf.io.TFRecordWriter(str(tmp_path / "others")) as writer:
        writer.write(b"\xff\xff\xff")
    with pytest.raises(DataError, match=r"record 0 of .* is no PredictionLog"):
        list(read_captured(tmp_path / "others", model_contract))
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="holds no requests"):
        ask(model, tmp_path / "empty.jsonl")


def test_a_model_of_another_pipeline_is_refused(model):
    (model / contract.METADATA_FILE).unlink()
    with pytest.raises(ModelError, match=r"has no assets\.extra/metadata\.json, which says where the Keras model"):
        ask(model)
