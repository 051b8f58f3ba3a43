"""The yardstick: PyTorch's DMF is our model, in scores and in gradients, or nothing is timed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.models.inputs import HISTORY_CONTENT_ROW, HISTORY_INDEX
from tfx_pipeline.errors import ModelError
from tfx_pipeline.studies.bench import training, workload

pytest.importorskip("torch", reason="PyTorch is no dependency: pip install '.[bench]'")

import torch

from tools import torch_yardstick
from tools.torch_yardstick import FACTORED, OURS, ROWS, TEXTBOOK, TorchDMF, paired, to_torch

SCHEMA = workload.schema(items=50, users=7)
PARAMS = {"id_dim": 8, "hidden_units": (12, 6), "attention_dim": 10, "buckets": 9, "branch_hidden": (5,)}


def model_of(name, **params):
    """A model whose histories matter: new embeddings are almost zero."""
    model = workload.model(name, {**PARAMS, "interest_dim": 4, **params}, SCHEMA)
    torch_yardstick.give_exact_content(model)
    rng = np.random.default_rng(0)
    model.item_embedding.embeddings.assign(rng.normal(size=model.item_embedding.embeddings.shape))
    return model


@pytest.fixture
def inputs():
    """Requests with padding, an empty history, and items without content."""
    made = workload.requests(SCHEMA, batch=4, candidates=6, history=7)
    rows = {name: np.array(made[name]) for name in (HISTORY_INDEX, HISTORY_CONTENT_ROW)}
    for padded in rows.values():
        padded[1, 4:] = 0
        padded[2] = 0
    rows[HISTORY_CONTENT_ROW][:, 1] = 0
    return {**made, **rows}


@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize(
    ("name", "params"), [("dmf_paper", {"alpha": 0.3}), ("dmf", {}), ("dmf", {"content_in": ("user",)})]
)
def test_scores_and_gradients_are_ours(name, params, factored, inputs):
    ours = model_of(name, **params)
    theirs = to_torch(ours, factored)
    labels = np.random.default_rng(1).integers(0, 2, (4, 6)).astype(np.float32)
    pairs = paired(ours, theirs)
    assert len(pairs) == len(ours.trainable_variables) == len(list(theirs.parameters()))

    variables = [variable.value for variable, _, _ in pairs]
    with tf.GradientTape() as tape:
        logits = ours(inputs, training=True)
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))
    gradients = tape.gradient(loss, variables)
    told = theirs(torch_yardstick.tensors(inputs))
    np.testing.assert_allclose(told.detach().numpy(), keras.ops.convert_to_numpy(logits), atol=1e-5)
    torch.nn.functional.binary_cross_entropy_with_logits(told, torch.from_numpy(labels)).backward()
    for gradient, (variable, parameter, transposed) in zip(gradients, pairs, strict=True):
        wanted = tf.convert_to_tensor(gradient).numpy()
        found = parameter.grad.numpy()
        assert np.abs(wanted).max() > 0, variable.path
        np.testing.assert_allclose(
            found.T if transposed else found.reshape(wanted.shape), wanted, atol=1e-6, err_msg=variable.path
        )


def test_what_it_does_not_have_is_refused():
    for params in ({"heads": 2}, {"mixing": "gate"}, {"alpha": 1.0}, {"histogram": "raw"}):
        with pytest.raises(ValueError, match="the PyTorch version has users, one modality, one head"):
            to_torch(model_of("dmf", **params))


@pytest.mark.slow
def test_what_is_timed_learns_the_same(monkeypatch):
    monkeypatch.setattr(training, "REQUESTS_PER_BATCH", 4)
    steps = torch_yardstick.training_functions("dmf", candidates=3)
    assert list(steps) == [OURS, TEXTBOOK, FACTORED]
    losses = {form: [step() for _ in range(5)] for form, step in steps.items()}
    for form in (TEXTBOOK, FACTORED):
        # Keras tells the mean of all steps so far. Roundings grow with the steps.
        means = np.cumsum(losses[form]) / np.arange(1, 6)
        np.testing.assert_allclose(means, losses[OURS], atol=1e-4)


def test_a_wrong_version_is_not_timed(monkeypatch, capsys):
    def mistaken(self, weights, bucket):
        return torch.zeros(*bucket.shape[:2], self.buckets + 1) + weights.sum()

    monkeypatch.setattr(TorchDMF, "sum_by_bucket", mistaken)
    with pytest.raises(ModelError, match=f"{OURS} and {TEXTBOOK} are not the same function"):
        torch_yardstick.rank_functions("dmf", candidates=5, history=4)
    assert torch_yardstick.main(["--models", "dmf", "--seconds", "0.01"]) == 1
    assert capsys.readouterr().err.startswith("stopped: ")


@pytest.mark.slow
def test_a_reader_gets_a_table(monkeypatch, capfd):
    monkeypatch.setattr(training, "REQUESTS_PER_BATCH", 4)
    assert torch_yardstick.main(["--models", "dmf", "--candidates", "5", "--history", "3", "--seconds", "0.01"]) == 0
    printed = capfd.readouterr().out
    for word in (OURS, TEXTBOOK, ROWS, FACTORED, "a step of 4 requests of 16", "N = 5, L = 3", "PyTorch"):
        assert word in printed
