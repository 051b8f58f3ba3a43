"""The signature `explain`: what Keras tells, out of the exported model and through a server."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.servable import Servable
from serving.export.signatures import explain_requests, export_model
from serving.local_server.batching import merge, split
from serving.local_server.server import LocalServer
from tests.serving.export.small_models import REQUESTS, VocabularyTransform, raw_requests, small_model
from tests.serving.local_server.asking import Asker

OF_PAIRS = ("attention", "attention_by_head", "similarity_text", "bucket_text", "similarity_image", "bucket_image")


@pytest.fixture(scope="module")
def model():
    return small_model("dmf")


@pytest.fixture(scope="module")
def base(exported_dmf):
    """A base path of one version, with the signature."""
    return exported_dmf.parent


@pytest.fixture(scope="module")
def servable(base):
    with Servable(base / "1", optimised=False) as loaded:
        yield loaded


def _one(history, candidates):
    raw = {name: value[:1] for name, value in raw_requests().items()}
    raw[contract.HISTORY_ITEM_ID] = np.array([history], object).reshape(1, -1)
    return raw | {contract.CANDIDATE_ITEM_ID: np.array([candidates], object)}


def test_the_contract_has_its_names_and_shapes(base):
    sides = contract.ModelContract.read(base / "1").signatures
    assert sides[contract.EXPLAIN]["inputs"] == sides[contract.RANK]["inputs"]
    outputs = sides[contract.EXPLAIN]["outputs"]
    for name in OF_PAIRS:
        shape = (None, None, 2, None) if name == "attention_by_head" else (None, None, None)
        assert outputs[name] == contract.TensorContract("int32" if name.startswith("bucket") else "float32", shape)
    parts = {"enriched", "centric", "history", "item", "user", "columns"}
    scores = {
        contract.SCORE,
        "logit",
        "base_logit",
        *(f"{of}_{p}" for p in parts for of in ("contribution", "without")),
    }
    assert set(outputs) == {*OF_PAIRS, *scores}
    assert {outputs[name] for name in scores} == {contract.TensorContract("float32", (None, None))}


def test_a_model_that_tells_nothing_has_its_score(tmp_path, monkeypatch):
    model = small_model("mean_pooling")
    monkeypatch.setattr(type(model), "explain", lambda self, state, inputs: {})
    written = export_model(model, VocabularyTransform(), tmp_path / "1", name="own", max_history=50, explain=True)
    assert set(written.signatures[contract.EXPLAIN]["outputs"]) == {contract.SCORE}


def test_it_tells_what_keras_tells_and_the_score_of_rank(servable, model):
    raw = raw_requests()
    told = servable.run(contract.EXPLAIN, raw)
    np.testing.assert_allclose(told[contract.SCORE], servable.run(contract.RANK, raw)[contract.SCORE], atol=1e-6)
    np.testing.assert_allclose(told[contract.SCORE], 1 / (1 + np.exp(-told["logit"].astype(np.float64))), atol=1e-6)
    tensors = {name: tf.constant(value) for name, value in raw.items()}
    live = explain_requests(model, VocabularyTransform(), tensors, ContentInputs(model))
    assert set(live) == set(told)
    for name, value in live.items():
        np.testing.assert_allclose(told[name], value.numpy(), atol=1e-5, err_msg=name)
    assert np.ptp(told["attention"][0, 0]) > 1e-3


def test_padding_and_other_candidates_change_nothing(servable):
    history, candidates = REQUESTS[0]["history"], REQUESTS[0]["candidates"]
    expected = servable.run(contract.EXPLAIN, _one(history, candidates))
    padded = servable.run(contract.EXPLAIN, _one(["", *history, "", ""], ["i9", *candidates, ""]))
    alone = servable.run(contract.EXPLAIN, _one(history, candidates[2:3]))
    for name, value in expected.items():
        found = padded[name][:, 1:-1]
        found = found[..., 1:-2] if name in OF_PAIRS else found
        np.testing.assert_allclose(found, value, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(alone[name], value[:, 2:3], atol=1e-5, err_msg=name)


def test_an_empty_history_is_told_of_too(servable):
    told = servable.run(contract.EXPLAIN, _one([], ["i2", "new"]))
    assert all(np.isfinite(value).all() for value in told.values())
    for part in ("enriched", "centric"):
        np.testing.assert_allclose(told[f"contribution_{part}"], 0, atol=1e-6)
    assert told["attention"].sum() == 0


def test_batched_as_a_server_does_it_each_call_finds_its_own_in_front(servable):
    calls = [_one(["", "i1"], ["i2"]), _one(["", "i3", "i7", "i25", "i1"], ["i28", "i3", "i4"])]
    answers = split(servable.run(contract.EXPLAIN, merge(calls)), [1, 1])
    for call, answer in zip(calls, answers, strict=True):
        expected = servable.run(contract.EXPLAIN, call)
        for name, value in expected.items():
            found = answer[name][:, : value.shape[1]]
            if name in OF_PAIRS:
                found = found[..., : value.shape[-1]]
            np.testing.assert_allclose(found, value, atol=1e-5, err_msg=name)


def test_a_server_answers_it_as_any_other(base, servable):
    raw = _one(["", "i1", "i3", "i25"], ["i2", "i28"])
    expected = servable.run(contract.EXPLAIN, raw)
    with LocalServer(base, "small") as server, Asker(server.target) as asker:
        _, told = asker.predict(contract.EXPLAIN, raw)
        response = asker.send(asker.request(contract.EXPLAIN, raw, outputs=["attention"]))
    assert set(told) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(told[name], value, atol=1e-6, err_msg=name)
    assert list(response.outputs) == ["attention"]
