"""A model of several objectives, exported: a formula and its parts by every signature, and what the gate finds."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.models import ObjectiveSpec, build_model
from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.servable import Servable, request_arrays
from serving.export.servable_check import check_servable
from serving.export.signatures import answer_requests, export_model
from serving.export.warmup import write_warmup
from serving.formula import FormulaError
from tests.serving.export.small_models import REQUESTS, SCHEMA, VocabularyTransform, raw_requests, serialized

OBJECTIVES = (ObjectiveSpec("click"), ObjectiveSpec("buy", "click"), ObjectiveSpec("like"))
FORMULA = "2 * click * buy ** 0.5 - like"
OUTPUTS = {"score", "score/click", "score/buy", "score/like"}
REQUEST = {
    "user_id": "u1",
    "history_item_id": ["i1", "i3"],
    "candidate_item_id": ["i2", "i28"],
    "gender": "f",
    "age": 1.5,
}


def _model():
    params = {"id_dim": 8, "feature_dim": 3, "hidden_units": [12, 6], "experts": 2}
    return build_model("target_attention", params, dataclasses.replace(SCHEMA, objectives=OBJECTIVES), seed=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The model and its export, with golden and warm-up requests as training writes them."""
    directory, model, transform = tmp_path_factory.mktemp("export") / "1", _model(), VocabularyTransform()
    written = export_model(
        model, transform, directory, name="target_attention", max_history=50, explain=True, formula=FORMULA
    )
    assert contract.ModelContract.read(directory) == written
    arrays = request_arrays(REQUEST, written)
    raw = {name: tf.constant(value) for name, value in arrays.items()}
    answers = answer_requests(model, transform, raw, ContentInputs(model), FORMULA)
    scores = {name: value.numpy()[0].tolist() for name, value in answers.items()}
    entry = {"case": "real", "request": REQUEST, "scores": scores.pop("score"), "objectives": scores}
    (directory / contract.EXTRA_ASSETS).mkdir()
    (directory / contract.GOLDEN_FILE).write_text(json.dumps([entry]))
    write_warmup(directory / contract.WARMUP_FILE, "m", [(contract.RANK, arrays)])
    return model, directory


def test_every_signature_answers_the_formula_and_its_parts(exported):
    model, directory = exported
    raw = raw_requests()
    written = contract.ModelContract.read(directory)
    assert written.objectives == {"click": None, "buy": "click", "like": None} and written.formula == FORMULA
    live = answer_requests(
        model, VocabularyTransform(), {k: tf.constant(v) for k, v in raw.items()}, ContentInputs(model), FORMULA
    )
    candidates = raw.pop(contract.CANDIDATE_ITEM_ID)
    with Servable(directory, optimised=False) as servable:
        rank = servable.run(contract.RANK, {**raw, contract.CANDIDATE_ITEM_ID: candidates})
        state = servable.run(contract.USER_TOWER, raw)
        two_step = servable.run(contract.CANDIDATE, {**state, contract.CANDIDATE_ITEM_ID: candidates})
        told = servable.run(contract.EXPLAIN, {**raw, contract.CANDIDATE_ITEM_ID: candidates})
        examples = np.array([serialized(request) for request in REQUESTS], object)
        examples = servable.run(contract.SERVING_DEFAULT, {contract.EXAMPLES: examples})
    assert set(rank) == set(two_step) == set(examples) == OUTPUTS and set(told) > OUTPUTS
    for name in OUTPUTS:
        np.testing.assert_allclose(rank[name], live[name].numpy(), atol=1e-5)
        np.testing.assert_allclose(two_step[name], rank[name], atol=1e-5)
        np.testing.assert_allclose(told[name], rank[name], atol=1e-5)
        for number, request in enumerate(REQUESTS):
            count = len(request["candidates"])
            np.testing.assert_allclose(examples[name][number, :count], rank[name][number, :count], atol=1e-5)
    click, buy, like = (rank[f"score/{name}"] for name in ("click", "buy", "like"))
    np.testing.assert_allclose(rank["score"], 2 * click * buy**0.5 - like, atol=1e-5)
    # What is explained is the first objective.
    np.testing.assert_allclose(1 / (1 + np.exp(-told["logit"])), click, atol=1e-4)


def test_without_a_formula_the_score_is_the_first_objective(tmp_path):
    written = export_model(_model(), VocabularyTransform(), tmp_path / "1", name="target_attention", max_history=50)
    assert written.formula == "click"
    with Servable(tmp_path / "1", optimised=False) as servable:
        rank = servable.run(contract.RANK, raw_requests())
    np.testing.assert_array_equal(rank["score"], rank["score/click"])


def test_a_formula_of_other_objectives_is_refused(tmp_path):
    with pytest.raises(FormulaError, match="'sale' is no objective"):
        export_model(_model(), VocabularyTransform(), tmp_path / "1", name="m", max_history=50, formula="sale")


def test_the_gate_lets_it_pass(exported):
    problems, figures = check_servable(exported[1], 1e-4)
    assert problems == []
    assert figures["golden_requests"] == figures["warmup_requests"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entry, _: entry["objectives"].update({"score/buy": [0.9, 0.9]}), "keras vs rank differ by"),
        (lambda entry, _: entry["objectives"].pop("score/like"), "keras vs rank differ by inf"),
        (lambda _, written: written.update(formula="click * buy"), r"scores are not 'click \* buy'"),
        (lambda _, written: written["objectives"].update(sale=None), "there is no probability of sale"),
    ],
)
def test_what_the_gate_finds(exported, change, message):
    _, directory = exported
    golden, written = directory / contract.GOLDEN_FILE, directory / contract.CONTRACT_FILE
    before = golden.read_text(), written.read_text()
    entries, values = json.loads(before[0]), json.loads(before[1])
    change(entries[0], values)
    golden.write_text(json.dumps(entries))
    written.write_text(json.dumps(values))
    try:
        problems, _ = check_servable(directory, 1e-4)
    finally:
        golden.write_text(before[0])
        written.write_text(before[1])
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("; ".join(problems))


def test_one_objective_has_the_contract_of_before(exported_dmf):
    values = json.loads((exported_dmf / contract.CONTRACT_FILE).read_text())
    assert set(values) == {"model", "max_history", "user_inputs", "signatures"}
    assert set(values["signatures"]["rank"]["outputs"]) == {"score"}
