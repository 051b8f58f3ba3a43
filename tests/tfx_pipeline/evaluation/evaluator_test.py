"""TFX's own Evaluator on real SavedModels, against pandas and scikit-learn on the rows it should have seen."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score
from tensorflow_model_analysis.api import model_eval_lib

from tfx_pipeline.config.schema import Evaluation, Threshold
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.demands import Demand, read_demands
from tfx_pipeline.evaluation.results import read_metrics, read_validation

pytestmark = pytest.mark.slow

CANDIDATE, BASELINE = 7, 3  # multipliers of two different hash models
AT_K = [1, 3]
BORDERS = {"rare_below": 5, "head_from": 30, "history_edges": [1, 10, 30], "at_k": AT_K}


@functools.cache
def ranking(scores: tuple[float, ...], labels: tuple[int, ...]) -> dict[str, float]:
    """Metrics of a request: means over all orders that its scores allow; none without a positive."""
    if not any(labels):
        return {}
    runs = [[y for s, y in zip(scores, labels, strict=True) if s == score] for score in sorted(set(scores))[::-1]]
    found: dict[str, list[float]] = {}
    for parts in itertools.product(*map(itertools.permutations, runs)):
        order = [label for part in parts for label in part]
        found.setdefault("mrr", []).append(1 / (1 + order.index(1)))
        for k in AT_K:
            found.setdefault(f"hr@{k}", []).append(any(order[:k]))
            found.setdefault(f"ndcg@{k}", []).append(gain(order[:k]) / gain(sorted(labels, reverse=True)[:k]))
    if not all(labels):
        rows = list(zip(scores, labels, strict=True))
        found["request_auc"] = [(p > n) + (p == n) / 2 for p, y in rows if y for n, other in rows if not other]
    return {name: float(np.mean(values)) for name, values in found.items()}


def gain(labels: Sequence[int]) -> float:
    return sum(label / math.log2(rank + 1) for rank, label in enumerate(labels, start=1))


def expected_metrics(rows: pd.DataFrame) -> dict[str, float]:
    """All metrics by loops and scikit-learn; None where there is no answer."""
    users = [(len(own), own) for _, own in rows.groupby("user")]
    aucs = [(n, roc_auc_score(own.label, own.score)) for n, own in users if own.label.nunique() == 2]
    sizes, per_user = zip(*aucs, strict=True) if aucs else ((), ())
    rate, loss = rows.label.mean(), log_loss(rows.label, rows.score, labels=[0, 1])
    both = 0 < rate < 1
    requests = [ranking(*own) for own in rows.groupby("request")[["score", "label"]].agg(tuple).to_numpy()]
    names = ["mrr", "request_auc", *(f"{name}@{k}" for name in ("hr", "ndcg") for k in AT_K)]
    by_request = {name: [values[name] for values in requests if name in values] for name in names}
    return {
        "auc": roc_auc_score(rows.label, rows.score) if both else None,
        "gauc": np.average(per_user, weights=sizes) if aucs else None,
        "gauc_equal": np.mean(per_user) if aucs else None,
        "gauc_skipped_users": 1 - len(aucs) / len(users),
        "log_loss": loss,
        "normalized_entropy": loss / -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate)) if both else None,
        "calibration": rows.score.sum() / rows.label.sum() if rate else None,
        **{name: np.mean(found) if found else None for name, found in by_request.items()},
        "request_count": len(requests),
        "skipped_requests": 1 - len(by_request["mrr"]) / len(requests),
        "request_auc_skipped_requests": 1 - len(by_request["request_auc"]) / len(requests),
        "example_count": len(rows),
        "base_rate": rate,
    }


def expected_slices(rows: pd.DataFrame) -> dict:
    """Per split, per column, per bucket."""
    columns = {
        "item_frequency": pd.cut(rows.impressions, [-1, 0, 4, 29, 10**9], labels=["cold", "rare", "tail", "head"]),
        "history_length": pd.cut(rows.history, [-1, 0, 9, 29, 10**9], labels=["empty", "1-9", "10-29", "30+"]),
        "content": rows.content,
    }
    result = {}
    for split, own in rows.groupby("split"):
        result[split] = {"overall": expected_metrics(own)}
        for name, buckets in columns.items():
            parts = own.groupby(buckets.loc[own.index].astype(str))
            result[split][name] = {bucket: expected_metrics(part) for bucket, part in parts}
    return result


def as_json(directory) -> dict:
    return {split: metrics.to_json() for split, metrics in read_metrics(directory).items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_same(found[key], value)
        else:
            assert found[key] == (None if value is None else pytest.approx(value, rel=1e-5)), key


@pytest.fixture(scope="module")
def first_run(workplace):
    """No baseline; the change threshold has nothing to compare with."""
    evaluation = Evaluation(**BORDERS, thresholds={"gauc": Threshold(min=0.3), "auc": Threshold(min_change=0.5)})
    model = workplace.save_model("candidate", evaluation, CANDIDATE)
    return workplace.evaluate("first_run", evaluation, model)


@pytest.fixture(scope="module")
def second_run(workplace, first_run):
    """With a baseline, and thresholds of which some must fail; the configured borders changed after training."""
    rows = workplace.rows
    change = expected_slices(rows(CANDIDATE))["test"]["overall"]["auc"]
    change -= expected_slices(rows(BASELINE))["test"]["overall"]["auc"]
    evaluation = Evaluation(
        rare_below=2,
        head_from=3,
        at_k=AT_K,
        thresholds={
            "auc": Threshold(min=0.9, min_change=change + 0.001),
            "gauc": Threshold(min=0.1, min_change=-1.0),
            "log_loss": Threshold(max=100.0, max_change=-1.0),
            "calibration": Threshold(min=0.0, max=0.25),
            "hr@1": Threshold(min=0.99, min_change=-1.0),
            "ndcg@3": Threshold(min=0.01, min_change=0.9),
            "request_auc": Threshold(min=0.01, min_change=-0.9),
        },
    )
    baseline = workplace.save_model("baseline", evaluation, BASELINE)
    return (*workplace.evaluate("second_run", evaluation, str(workplace.root / "candidate"), baseline), change)


def test_every_metric_of_every_slice(workplace, first_run):
    found = as_json(first_run[0])
    assert_same(found, expected_slices(workplace.rows(CANDIDATE)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_rows_cover_what_they_must(workplace):
    # The comparison is worth what its rows are: ties, users of one class, every bucket, several requests a user.
    rows = workplace.rows(CANDIDATE)
    overall = expected_slices(rows)["test"]
    assert 0 < overall["content"]["without"]["gauc_skipped_users"] < 1
    assert [len(overall[name]) for name in ("item_frequency", "history_length", "content")] == [4, 4, 2]
    assert rows.groupby(["user", "split"]).score.apply(lambda scores: scores.duplicated().any()).any()


def test_first_run_is_blessed_without_a_baseline(first_run):
    assert first_run[1]
    assert read_validation(first_run[0]) == (True, [])


def test_thresholds_are_read_with_what_was_found(workplace, second_run):
    directory, _, change = second_run
    candidate, baseline = (expected_slices(workplace.rows(model))["test"]["overall"] for model in (CANDIDATE, BASELINE))
    loss = candidate["log_loss"] - baseline["log_loss"]
    ndcg = candidate["ndcg@3"] - baseline["ndcg@3"]
    missed = [demand for demand in read_demands(directory) if not demand.met]
    assert missed == [
        Demand("auc", "at least 0.9", f"{candidate['auc']:.4g}", False),
        Demand("auc", f"at least {change + 0.001:+g}", f"{change:+.4g}", False),
        Demand("log_loss", "at most -1", f"{loss:+.4g}", False),
        Demand("calibration", "at least 0 and at most 0.25", f"{candidate['calibration']:.4g}", False),
        Demand("hr@1", "at least 0.99", f"{candidate['hr@1']:.4g}", False),
        Demand("ndcg@3", "at least +0.9", f"{ndcg:+.4g}", False),
    ]


def test_with_a_baseline_metrics_are_still_the_candidates(workplace, second_run):
    # Also the slices: their borders and facts are those the candidate was trained with.
    assert_same(as_json(second_run[0]), expected_slices(workplace.rows(CANDIDATE)))


def test_baseline_and_difference_are_written_for_tfma(workplace, second_run):
    result = model_eval_lib.load_eval_result(second_run[0], model_name="baseline")
    found = {key: values[""][""]["auc"]["doubleValue"] for key, values in result.slicing_metrics}
    expected = expected_slices(workplace.rows(BASELINE))
    assert found[(("split", "test"),)] == pytest.approx(expected["test"]["overall"]["auc"])
    assert found[("content", "with"), ("split", "eval")] == pytest.approx(expected["eval"]["content"]["with"]["auc"])


def test_failed_thresholds_are_said_one_by_one(workplace, second_run):
    directory, blessed, change = second_run
    assert not blessed
    validation = read_validation(directory)
    assert not validation.blessed
    candidate, baseline = (expected_slices(workplace.rows(model))["test"]["overall"] for model in (CANDIDATE, BASELINE))
    loss = candidate["log_loss"] - baseline["log_loss"]
    against = "against the last blessed model"
    gain = candidate["ndcg@3"] - baseline["ndcg@3"]
    assert sorted(validation.failures) == [
        f"auc on split 'test' changed by {change:+.6g} {against}; expected at least {change + 0.001:+g}",
        f"auc on split 'test' is {candidate['auc']:.6g}; expected at least 0.9",
        f"calibration on split 'test' is {candidate['calibration']:.6g}; expected at least 0 and at most 0.25",
        f"hr@1 on split 'test' is {candidate['hr@1']:.6g}; expected at least 0.99",
        f"log_loss on split 'test' changed by {loss:+.6g} {against}; expected at most -1",
        f"ndcg@3 on split 'test' changed by {gain:+.6g} {against}; expected at least +0.9",
    ]


def test_a_model_that_predicts_nan_is_not_blessed(workplace):
    evaluation = Evaluation(**BORDERS, thresholds={"auc": Threshold(min=0.0)})
    model = workplace.save_model("broken", evaluation, CANDIDATE, nan_item="i17")
    directory, blessed = workplace.evaluate("nan_run", evaluation, model)
    assert not blessed
    assert read_metrics(directory)["test"].overall["auc"] is None
    [failure] = read_validation(directory).failures
    assert failure.startswith("auc on split 'test' has no value")
    assert failure.endswith("expected at least 0")


def test_no_evaluation_is_said(tmp_path):
    with pytest.raises(ModelError, match="no evaluation in"):
        read_metrics(tmp_path)
    with pytest.raises(ModelError, match="finished Evaluator"):
        read_validation(tmp_path / "absent")
