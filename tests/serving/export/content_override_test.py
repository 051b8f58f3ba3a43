"""Content that a request carries for its candidates: what it does to scores, and what the graph refuses."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.servable import Servable
from serving.export.signatures import export_model, score_requests
from tests.serving.export.small_models import VocabularyTransform, raw_requests, small_model

TEXT, IMAGE = contract.CONTENT_PREFIX + "text", contract.CONTENT_PREFIX + "image"
# The encoder of the texts gives 9 numbers, the table keeps 6 directions of them.
BASIS = np.linalg.qr(np.random.default_rng(1).normal(size=(9, 6)))[0].astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return small_model("dmf")


@pytest.fixture(scope="module")
def servable(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("model") / "1"
    export_model(model, VocabularyTransform(), directory, name="dmf", max_history=50, content_bases={"text": BASIS})
    with Servable(directory) as loaded:
        loaded.contract = contract.ModelContract.read(directory)
        yield loaded


def _one(candidates, text=None, image=None) -> dict[str, np.ndarray]:
    """The first request with these candidates, and with vectors where given."""
    raw = {name: value[:1] for name, value in raw_requests().items()}
    raw[contract.CANDIDATE_ITEM_ID] = np.array([candidates], object)
    count = len(candidates)
    raw[TEXT] = np.zeros((1, count, 9), np.float32) if text is None else np.asarray(text, np.float32)[None]
    raw[IMAGE] = np.zeros((1, count, 5), np.float32) if image is None else np.asarray(image, np.float32)[None]
    return raw


def _without(raw, *names):
    return {name: value for name, value in raw.items() if name not in names}


def _table_rows(model, modality, numbers) -> np.ndarray:
    return model.content[modality](np.array(numbers))[0].numpy()


def _two_step(servable, raw) -> np.ndarray:
    candidates = (contract.CANDIDATE_ITEM_ID, TEXT, IMAGE)
    state = servable.run(contract.USER_TOWER, _without(raw, *candidates))
    inputs = {**state, **{name: raw[name] for name in candidates}}
    return servable.run(contract.CANDIDATE_WITH_CONTENT, inputs)[contract.SCORE]


def test_the_contract_says_what_the_encoders_give(servable):
    assert servable.contract.content_widths == {"text": 9, "image": 5}
    for name in (contract.RANK_WITH_CONTENT, contract.CANDIDATE_WITH_CONTENT):
        inputs = servable.contract.signatures[name]["inputs"]
        assert inputs[TEXT] == contract.TensorContract("float32", (None, None, 9))
        assert inputs[IMAGE] == contract.TensorContract("float32", (None, None, 5))
        plain = servable.contract.signatures[name.removesuffix("_with_content")]["inputs"]
        assert set(inputs) - set(plain) == {TEXT, IMAGE}


def test_a_model_without_content_has_no_such_signatures(tmp_path):
    written = export_model(
        small_model("target_attention"), VocabularyTransform(), tmp_path / "1", name="target_attention", max_history=9
    )
    assert written.content_widths == {}
    assert set(written.signatures) == {"rank", "user_tower", "candidate", "serving_default", "transform"}


def test_zeros_change_nothing(servable):
    raw = _one(["i2", "i28", "new", ""])
    expected = servable.run(contract.RANK, _without(raw, TEXT, IMAGE))[contract.SCORE]
    np.testing.assert_allclose(servable.run(contract.RANK_WITH_CONTENT, raw)[contract.SCORE], expected, atol=1e-6)
    np.testing.assert_allclose(_two_step(servable, raw), expected, atol=1e-6)


def test_an_item_that_carries_the_content_of_another_scores_as_that(servable, model):
    """i28 and "new" share the row of unknown ids; with the same content nothing tells them apart."""
    text, image = _table_rows(model, "text", [28]), _table_rows(model, "image", [28])
    candidates = ["i28", "new", "new"]
    raw = _one(
        candidates,
        # Any length; what lies outside the kept directions is dropped by the projection.
        text=np.stack([np.zeros(9), 37.0 * (text[0] @ BASIS.T), np.zeros(9)]),
        image=np.stack([np.zeros(5), 1e-20 * image[0], np.zeros(5)]),
    )
    scores = servable.run(contract.RANK_WITH_CONTENT, raw)[contract.SCORE][0]
    assert abs(scores[1] - scores[0]) < 1e-5
    assert abs(scores[2] - scores[0]) > 1e-3, "without content the new item should score otherwise"
    np.testing.assert_allclose(_two_step(servable, raw)[0], scores, atol=1e-6)


def test_vectors_replace_those_of_the_catalogue_candidate_by_candidate(servable, model):
    rng = np.random.default_rng(4)
    text = np.zeros((3, 9), np.float32)
    text[1] = rng.normal(size=9)
    raw = _one(["i2", "i3", "i7"], text=text)
    plain = servable.run(contract.RANK, _without(raw, TEXT, IMAGE))[contract.SCORE][0]
    scores = servable.run(contract.RANK_WITH_CONTENT, raw)[contract.SCORE][0]
    np.testing.assert_allclose(scores[[0, 2]], plain[[0, 2]], atol=1e-6)
    assert abs(scores[1] - plain[1]) > 1e-3


def test_keras_and_the_exported_model_agree(servable, model):
    rng = np.random.default_rng(5)
    raw = _one(["i2", "new", "i28"], text=rng.normal(size=(3, 9)), image=rng.normal(size=(3, 5)) * 1e25)
    content = ContentInputs(model, {"text": BASIS})
    live = score_requests(model, VocabularyTransform(), {k: tf.constant(v) for k, v in raw.items()}, content)
    scores = servable.run(contract.RANK_WITH_CONTENT, raw)[contract.SCORE]
    np.testing.assert_allclose(scores, live.numpy(), atol=1e-5)


def test_a_vector_outside_the_kept_directions_is_no_content(servable):
    outside = np.linalg.svd(BASIS.T)[2][-1]
    np.testing.assert_allclose(outside @ BASIS, 0, atol=1e-6)
    raw = _one(["i2"], text=outside[None])
    plain = servable.run(contract.RANK, _without(raw, TEXT, IMAGE))[contract.SCORE]
    np.testing.assert_allclose(servable.run(contract.RANK_WITH_CONTENT, raw)[contract.SCORE], plain, atol=1e-6)


@pytest.mark.parametrize("name", [TEXT, IMAGE])
@pytest.mark.parametrize("fault", ["narrow", "wide", "one", "fewer", "more", "flat", "empty", "nan", "inf"])
def test_what_does_not_fit_is_refused_by_name_and_the_model_lives_on(servable, name, fault):
    """The server feeds any shape: `Servable` does as well, so it is the graph that must refuse."""
    raw = _one(["i2", "i3"])
    good = raw[name] + np.float32(0.5)
    width = good.shape[-1]
    vectors = {
        "narrow": good[..., :-1],
        "wide": np.concatenate([good, good], -1),
        "one": good[..., :1],
        "fewer": good[:, :1],
        "more": np.concatenate([good, good], 1),
        "flat": good[0],
        "empty": good[..., :0],
        "nan": np.where(np.arange(width) == 2, np.float32("nan"), good),
        "inf": np.where(np.arange(width) == 2, np.float32("inf"), good),
    }[fault]
    before = servable.run(contract.RANK_WITH_CONTENT, raw)[contract.SCORE]
    for run in (
        lambda: servable.run(contract.RANK_WITH_CONTENT, raw | {name: vectors}),
        lambda: _two_step(servable, raw | {name: vectors}),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=name) as refused:
            run()
        words = {"nan": "must be finite", "inf": "must be finite"}.get(fault, rf"must have shape [B, N, {width}]")
        assert words in refused.value.message
    np.testing.assert_array_equal(servable.run(contract.RANK_WITH_CONTENT, raw)[contract.SCORE], before)


def test_a_projection_that_does_not_fit_its_table_is_refused(model):
    with pytest.raises(ValueError, match=r"projection of 'text' must have shape \[width, 6\], got \[9, 4\]"):
        ContentInputs(model, {"text": BASIS[:, :4]})
