"""Metrics of several objectives: joint probabilities, labels by name, baselines that know fewer of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_model_analysis import constants

from serving import contract
from tests.tfx_pipeline.evaluation.extractors_test import record_batch
from tfx_pipeline.config.schema import Evaluation, Threshold
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.evaluation import extractors
from tfx_pipeline.evaluation.candidate_table import CandidateTable, ObjectiveColumns
from tfx_pipeline.evaluation.eval_config import make_eval_config
from tfx_pipeline.evaluation.joint import joint_probabilities
from tfx_pipeline.evaluation.metrics import REQUEST_KEY, USER_KEY, _derived, _RowsPreprocessor, evaluated, named

FUNNEL = {"click": None, "buy": "click", "like": None}
OUTPUTS = {"score": 9.0, "score/click": 0.5, "score/buy": 0.25, "score/like": 0.125}


class _Loaded:
    """A loaded model: every score of an output is the same."""

    def __init__(self, **outputs: float):
        self.signatures = {"serving_default": lambda examples: {k: tf.fill([2, 2], v) for k, v in outputs.items()}}


def _scorer(candidate, models):
    """`_ScoreCandidates` without its models' folders: by name (objectives, loaded model)."""
    step = object.__new__(extractors._ScoreCandidates)
    step._objectives = {name: given for name, (given, _) in models.items()}
    step._given = step._objectives[candidate]
    step._models = {name: loaded for name, (_, loaded) in models.items()}
    step._paths = dict.fromkeys(models, "/model")
    return step


def test_conditions_come_into_the_product():
    own = {"click": np.array([0.5, 0.1]), "buy": np.array([0.5, 1.0]), "return": np.array([0.5, 0.5])}
    joint = joint_probabilities(own, {"click": None, "buy": "click", "return": "buy"})
    np.testing.assert_allclose(joint["return"], [0.125, 0.05])


def test_predictions_are_joint_and_a_baseline_may_know_fewer_objectives():
    models = {
        "candidate": (FUNNEL, _Loaded(**OUTPUTS)),
        "other": ({"click": None, "like": "click"}, _Loaded(**{"score/click": 0.5, "score/like": 0.5})),
        "plain": ({}, _Loaded(score=0.75)),
    }
    step, candidates = _scorer("candidate", models), np.array([2, 1])
    np.testing.assert_allclose(step._score("candidate", None, candidates), [[0.5, 0.125, 0.125]] * 3)
    np.testing.assert_allclose(step._score("other", None, candidates), [[0.5, np.nan, 0.25]] * 3)
    np.testing.assert_allclose(step._score("plain", None, candidates), [[0.75, np.nan, np.nan]] * 3)
    # A candidate of one objective, after one of several: the first is what both predict.
    step = _scorer("plain", models)
    np.testing.assert_allclose(step._score("candidate", None, candidates), [0.5] * 3)
    with pytest.raises(ModelError, match="expected 'score/buy'"):
        _scorer("broken", {"broken": (FUNNEL, _Loaded(**{"score/click": 0.5}))})._score("broken", None, candidates)


def test_labels_of_every_objective_are_one_for_each_candidate():
    batch = record_batch(**{"label/buy": [[1, 0], [0]]})
    counts = np.array([2, 1])
    assert extractors._labels(batch, raw_features.LABEL_PREFIX + "buy", counts).tolist() == [True, False, False]
    with pytest.raises(DataError, match="user b'u' has 2 candidates but 1 labels in label/buy"):
        extractors._labels(record_batch(**{"label/buy": [[1], [0]]}), "label/buy", counts)


def test_a_metric_takes_the_column_of_its_objective():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 2, (50, 2)).astype(bool), rng.random((50, 2)).astype(np.float32)
    features = {USER_KEY: np.arange(50, dtype=np.uint64) % 7, REQUEST_KEY: np.arange(50, dtype=np.int32) // 5}
    extracts = {
        constants.LABELS_KEY: labels,
        constants.PREDICTIONS_KEY: {"": predictions, "baseline": np.full((50, 2), np.nan)},
        constants.FEATURES_KEY: features,
    }
    [main], [buy] = (list(_RowsPreprocessor("", column).process(extracts)) for column in (0, 1))
    for metric in evaluated([5], ["buy"]):
        rows = buy if metric.column else main
        alone = named(metric.name.removeprefix("buy/")).value(rows)
        assert metric.value(rows) == pytest.approx(alone, nan_ok=True), metric.name
    names = [metric.name for metric in evaluated([5], ["buy"])]
    assert {"buy/auc", "buy/ndcg@5", "buy/base_rate"} < set(names)
    assert not {"buy/example_count", "buy/request_count"} & set(names)
    # A baseline that does not predict it has no answer.
    [unknown] = _RowsPreprocessor("baseline", 1).process(extracts)
    [value] = _derived(None, "rows", named("buy/log_loss", 1)).result({"rows": unknown}).values()
    assert math.isnan(value)


def test_thresholds_stand_at_the_metric_of_the_objective_and_one_objective_is_asked_as_before():
    evaluation = Evaluation(thresholds={"auc": Threshold(min=0.5), "buy/auc": Threshold(min=0.6)})
    [spec] = make_eval_config(evaluation, ["buy"]).metrics_specs
    bounds = {
        metric.config: metric.per_slice_thresholds[0].threshold.value_threshold.lower_bound.value
        for metric in spec.metrics
        if metric.per_slice_thresholds and metric.class_name == "CandidateAUC"
    }
    assert bounds == {'{"name": "auc"}': 0.5, '{"name": "buy/auc", "column": 1}': 0.6}
    plain = make_eval_config(Evaluation())
    assert all("column" not in metric.config for metric in plain.metrics_specs[0].metrics)


def test_a_table_keeps_every_objective(tmp_path):
    rng = np.random.default_rng(0)
    columns = {
        "labels": rng.integers(0, 2, 40).astype(bool),
        "probabilities": rng.random(40).astype(np.float32),
        "users": np.arange(40, dtype=np.uint64) % 5,
        "requests": np.arange(40, dtype=np.int32) // 4,
        "train_impressions": np.zeros(40, np.int64),
        "history_lengths": np.zeros(40, np.int64),
        "has_content": np.ones(40, bool),
    }
    buy = ObjectiveColumns(rng.integers(0, 2, 40).astype(bool), rng.random(40).astype(np.float32))
    CandidateTable(**columns, further={"buy": buy}).save(tmp_path / "several.npz")
    table = CandidateTable.load(tmp_path / "several.npz")
    mask = np.arange(40) % 3 > 0
    alone = CandidateTable(**{**columns, "labels": buy.labels, "probabilities": buy.probabilities})
    found = table.metrics(["auc", "buy/auc", "buy/ndcg@5"], mask)
    assert list(found) == ["auc", "buy/auc", "buy/ndcg@5"]
    expected = alone.metrics(["auc", "ndcg@5"], mask)
    assert (found["buy/auc"], found["buy/ndcg@5"]) == (expected["auc"], expected["ndcg@5"])
    CandidateTable(**columns).save(tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as arrays:
        assert set(arrays.files) == set(columns)
    assert CandidateTable.load(tmp_path / "one.npz").further == {}


def test_a_model_without_a_contract_has_one_objective(tmp_path):
    assert extractors._objectives(str(tmp_path)) == {}
    text = contract.ModelContract("dmf", 5, {}, objectives=FUNNEL, formula="click").to_json()
    (tmp_path / contract.CONTRACT_FILE).write_text(text)
    assert extractors._objectives(str(tmp_path)) == FUNNEL
