"""Refusals carry the status codes and the words of TensorFlow Serving; answers say who answered."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import any_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.export.servable import signature_defs
from serving.local_server.server import LocalServer
from tests.serving.local_server.asking import RANK, USER, Asker, refusal


@pytest.fixture(scope="module")
def asker(models):
    with LocalServer(models, "small") as server, Asker(server.target) as asker:
        yield asker


def changed(**inputs):
    return {**RANK, **inputs}


@pytest.mark.parametrize(
    ("spec", "code", "details"),
    [
        ({"model": "xyz"}, "NOT_FOUND", "Servable not found for request: Latest(xyz)"),
        ({"version": 7}, "NOT_FOUND", "Servable not found for request: Specific(small, 7)"),
        ({"model": "xyz", "version": 3}, "NOT_FOUND", "Servable not found for request: Specific(xyz, 3)"),
        ({"label": "stable"}, "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
    ],
)
def test_models_and_versions_that_are_not_there(asker, spec, code, details):
    assert refusal(lambda: asker.predict(**spec)) == (code, details)
    assert refusal(lambda: asker.metadata(**spec)) == (code, details)


@pytest.mark.parametrize(("asked", "named"), [("recall", "recall"), ("", "serving_default")])
def test_unknown_signatures(asker, asked, named):
    assert refusal(lambda: asker.predict(asked)) == (
        "FAILED_PRECONDITION",
        f'Serving signature key "{named}" not found.',
    )


@pytest.mark.parametrize(
    ("arrays", "details"),
    [
        (
            USER,
            "input size does not match signature: 4!=5 len({age,gender,history_item_id,user_id}) != "
            "len({age,candidate_item_id,gender,history_item_id,user_id}). Sent extra: {}. "
            "Missing but required: {candidate_item_id}.",
        ),
        (
            changed(city=np.array([b"x"], object)),
            "input size does not match signature: 6!=5 "
            "len({age,candidate_item_id,city,gender,history_item_id,user_id}) != "
            "len({age,candidate_item_id,gender,history_item_id,user_id}). Sent extra: {city}. "
            "Missing but required: {}.",
        ),
        ({**USER, "items": RANK["candidate_item_id"]}, "Signature input alias: candidate_item_id(feed name: "),
        (changed(age=np.array([34])), "Expects input 'age' to be float32 but int64 is provided."),
        (changed(age=np.array([b"34"], object)), "Expects input 'age' to be float32 but string is provided."),
        (
            changed(candidate_item_id=np.array([[1, 2]])),
            "Expects input 'candidate_item_id' to be string but int64 is provided.",
        ),
        (changed(user_id=np.array(b"u1", object)), "input 'user_id' must have shape [?], got []"),
        (
            changed(history_item_id=np.array([b"i1"], object)),
            "input 'history_item_id' must have shape [?, ?], got [1]",
        ),
        # Rows that do not fit each other: the graph itself notices.
        (changed(user_id=np.array([b"u1", b"u2", b"u3"], object), age=np.array([1, 2], np.float32)), ""),
    ],
)
def test_bad_inputs(asker, arrays, details):
    code, said = refusal(lambda: asker.predict(arrays=arrays))
    assert code == "INVALID_ARGUMENT"
    assert said.startswith(details)
    assert said


@pytest.mark.parametrize(
    ("outputs", "details"),
    [
        (["scores"], "output tensor alias not found in signature: scores Outputs expected to be in the set {score}."),
        (["score", "score"], "duplicate output tensor alias: score"),
    ],
)
def test_bad_output_filters(asker, outputs, details):
    assert refusal(lambda: asker.predict(outputs=outputs)) == ("INVALID_ARGUMENT", details)


def test_requests_that_say_too_little(asker):
    assert refusal(lambda: asker.send(predict_pb2.PredictRequest())) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    nameless = asker.request()
    nameless.model_spec.name = ""
    assert refusal(lambda: asker.send(nameless)) == ("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    assert refusal(lambda: asker.metadata(fields=())) == (
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    )
    assert refusal(lambda: asker.metadata(fields=("graph",))) == (
        "INVALID_ARGUMENT",
        "Metadata field graph is not supported",
    )
    for call, request in (
        (asker.prediction.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest()),
        (asker.models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest()),
    ):
        assert refusal(lambda call=call, request=request: call(request)) == ("INVALID_ARGUMENT", "Missing ModelSpec")


def test_status_of_what_is_not_there(asker):
    assert refusal(lambda: asker.status(model="xyz")) == ("NOT_FOUND", "Could not find any versions of model xyz")
    assert refusal(lambda: asker.status(version=7)) == ("NOT_FOUND", "Could not find version 7 of model small")
    assert list(asker.status(version=3)) == [3]


def test_calls_that_are_not_served_say_what_is(asker):
    prediction, models = asker.prediction, asker.models
    for call, request in (
        (prediction.Classify, classification_pb2.ClassificationRequest()),
        (prediction.Regress, regression_pb2.RegressionRequest()),
        (prediction.MultiInference, inference_pb2.MultiInferenceRequest()),
        (models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
    ):
        code, details = refusal(lambda call=call, request=request: call(request))
        assert code == "UNIMPLEMENTED"
        assert "Predict" in details or "start it again" in details


def test_answers_name_model_version_and_signature(asker, expected):
    response = asker.send(asker.request("rank"))
    assert (response.model_spec.name, response.model_spec.signature_name) == ("small", "rank")
    assert response.model_spec.version.value == 3
    score = response.outputs["score"]
    # In the dtype's own field, as TensorFlow Serving answers.
    np.testing.assert_allclose(list(score.float_val), expected[3][0], atol=1e-6)
    assert [dim.size for dim in score.tensor_shape.dim] == [1, 4]
    assert not score.tensor_content


def test_outputs_can_be_chosen(asker):
    _, everything = asker.predict("user_tower", USER)
    _, chosen = asker.predict("user_tower", USER, outputs=["user_part", "history_mask"])
    assert set(everything) == {"keys", "history_mask", "user_part"}
    assert set(chosen) == {"user_part", "history_mask"}
    for name, value in chosen.items():
        np.testing.assert_array_equal(value, everything[name])
    assert everything["history_mask"].dtype == bool


def test_two_steps_give_what_rank_gives(asker, expected):
    _, state = asker.predict("user_tower", USER)
    _, scored = asker.predict("candidate", {**state, "candidate_item_id": RANK["candidate_item_id"]})
    np.testing.assert_allclose(scored["score"], expected[3], atol=1e-6)


def test_metadata_is_the_models_signatures(asker, models):
    response = asker.metadata(version=3)
    assert (response.model_spec.name, response.model_spec.version.value) == ("small", 3)
    found = get_model_metadata_pb2.SignatureDefMap()
    packed = response.metadata["signature_def"]
    assert isinstance(packed, any_pb2.Any) and packed.Unpack(found)
    for name, signature in signature_defs(models / "3").items():
        assert found.signature_def[name] == signature
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(models / "3"))
        assert set(found.signature_def) == set(loaded.signature_def)


def test_long_messages_are_cut(asker):
    name = "x" * 5000
    code, details = refusal(lambda: asker.predict(model=name))
    assert code == grpc.StatusCode.NOT_FOUND.name
    assert len(details) < 1100 and details.endswith("...TRUNCATED")
