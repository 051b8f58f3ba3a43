"""Section `tuning`: what may be tried is checked when the configuration is read, by the models themselves."""

from __future__ import annotations

import pytest

from dmf_keras.models import model_names
from tfx_pipeline.errors import ConfigError

SPACE = """
tuning:
  space:
    params.id_dim: {choice: [8, 16]}
    params.hidden_units: {choice: [[16], [64, 32]]}
    params.dropout: {uniform: [0, 0.5]}
    params.buckets: {int: [5, 40]}
    params.activation_units: {choice: [[8], [4, 4]]}
    training.learning_rate: {log: [0.0001, 0.01]}
    training.epochs: {int: [1, 3]}
"""


def test_space_is_read_as_written(load):
    tuning = load(more=SPACE).tuning
    assert (tuning.algorithm, tuning.trials, tuning.objective, tuning.direction) == ("random", 20, "gauc", "max")
    assert tuning.space["params.hidden_units"].choice == [[16], [64, 32]]
    assert tuning.space["training.learning_rate"].log == [0.0001, 0.01]
    assert not tuning.run_in_pipeline


def test_each_model_has_its_part_of_the_space(load):
    tuning = load(more=SPACE).tuning
    assert {"params.activation_units", "params.buckets"} - set(tuning.space_of("dmf")) == {"params.activation_units"}
    assert {"params.activation_units", "params.buckets"} - set(tuning.space_of("din")) == {"params.buckets"}
    for name in model_names():
        assert {"params.id_dim", "training.epochs"} <= set(tuning.space_of(name))


def test_log_loss_is_the_better_the_smaller(load):
    assert load("tuning.objective=log_loss").tuning.direction == "min"


@pytest.mark.parametrize("objective", ["mrr", "request_auc", "hr@1", "ndcg@20"])
def test_ranking_within_requests_is_the_better_the_larger(load, objective):
    assert load(f"tuning.objective={objective}").tuning.direction == "max"


@pytest.mark.parametrize("objective", ["hr", "hr@0", "hr@-1", "hr@05", "map@5", "calibration"])
def test_an_objective_that_does_not_exist_is_refused_with_those_that_do(load, objective):
    with pytest.raises(ConfigError, match=r"tuning.objective: unknown metric.*allowed: gauc, auc.*mrr.*ndcg@K"):
        load(f"tuning.objective={objective}")


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("{params.id_dims: {choice: [8]}}", "params.id_dims: model 'dmf' has no parameter 'id_dims' (did you mean 'id"),
        ("{params.id_dim: {choice: [8, 0]}}", "params.id_dim: id_dim must be an integer of at least 1, got 0"),
        ("{params.id_dim: {log: [8, 16]}}", "params.id_dim: id_dim must be an integer of at least 1, got 8.0"),
        ("{params.dropout: {uniform: [0, 1.5]}}", "params.dropout: dropout must be a number from 0 to 0.95, got 1.5"),
        (
            "{params.dropout: {uniform: [0.5, 0]}}",
            "params.dropout: uniform wants the lower bound first, got [0.5, ",
        ),
        ("{params.dropout: {log: [0, 0.5]}}", "params.dropout: log wants bounds above 0, got [0.0, 0.5]; for 0 to 0.5"),
        (
            "{params.dropout: {log: [0.1, 0.5], choice: [0]}}",
            "params.dropout: give exactly one of choice, uniform",
        ),
        ("{params.dropout: {uniform: [0.1]}}", "params.dropout.uniform: should have at least 2 items"),
        ("{params.dropout: 0.1}", "params.dropout: should be a section with keys such as choice, uniform, log"),
        ("{params: {choice: [0]}}", "'params' cannot be tuned; keys are params.NAME"),
        ("{params: {dropout: {choice: [0]}}}", "params.dropout: unknown key; allowed: choice, uniform, log, int"),
        ("{training.epoch: {int: [1, 2]}}", "'training.epoch' cannot be tuned; keys are params.NAME of a model's"),
        ("{training.seed: {int: [1, 2]}}", "'training.seed' cannot be tuned"),
        (
            "{training.epochs: {uniform: [1, 4]}}",
            "training.epochs: should be a valid integer, got a number with a f",
        ),
        (
            "{training.learning_rate: {uniform: [0, 4]}}",
            "training.learning_rate: should be greater than 0 (given: 0",
        ),
        ("{params.activation: {choice: [dice, relus]}}", "params.activation: activation must be one of dice, relu"),
    ],
)
def test_what_no_model_takes_is_refused(refusal, space, expected):
    (problem,) = refusal(f"tuning.space={space}")
    assert problem.startswith("tuning.space")
    assert expected in problem


def test_values_are_checked_with_the_rest_of_the_hyper_parameters(refusal):
    """Two heads do not divide a width of 9, which is a fault only of the two together."""
    (problem,) = refusal("model.params.heads=2", "tuning.space={params.attention_dim: {choice: [8, 9]}}")
    assert "tuning.space.params.attention_dim: attention_dim must be a multiple of heads (2), got 9" in problem


def test_a_pipeline_cannot_search_an_empty_space(refusal):
    (problem,) = refusal("tuning.run_in_pipeline=true")
    assert problem == "tuning: run_in_pipeline is true, but `space` is empty: nothing could be tried"


def test_a_pipeline_cannot_search_a_space_of_other_models(load, refusal):
    space = "tuning.space={params.activation_units: {choice: [[8], [4, 4]]}}"
    (problem,) = refusal(space, "tuning.run_in_pipeline=true")
    assert problem.startswith(
        "tuning.run_in_pipeline: the model 'dmf' has none of the keys of tuning.space: params.act"
    )
    assert load(space, "tuning.run_in_pipeline=true", "model.name=din").tuning.run_in_pipeline
    # Tuned by `dmf tune --models din`.
    assert load(space).tuning.space_of("dmf") == {}
