"""One list of metrics: whatever computes, compares or tunes by one has it from there."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.config.metrics import (
    COMPARED,
    DEFAULT_AT_K,
    METRICS,
    SHOWN,
    by_request,
    compared,
    cut_off,
    cut_offs,
    metric,
    outlined,
)
from tfx_pipeline.evaluation import metrics
from tfx_pipeline.evaluation.bootstrap import RESAMPLED, resampled_metrics

# Counts that go with the metrics; a threshold on one would not be about quality.
COUNTS = {
    *("gauc_skipped_users", "example_count", "base_rate"),
    *("request_count", "skipped_requests", "request_auc_skipped_requests"),
}


def test_the_evaluator_computes_each_in_this_order():
    computed = [metric.name for metric in metrics.evaluated([1, 3])]
    quality = [name for name in computed if name not in COUNTS]
    assert [name for name in quality if "@" not in name] == list(METRICS)
    assert [name for name in quality if "@" in name] == ["hr@1", "hr@3", "ndcg@1", "ndcg@3"]
    assert set(computed) >= COUNTS


def test_what_is_compared_is_shown_and_resampled():
    assert set(COMPARED) == set(RESAMPLED) <= set(SHOWN)
    one = np.zeros(4)
    found = resampled_metrics(one > 0, one, [one], requests=one, at_k=(1, 3), resamples=2)
    assert set(found) == set(compared((1, 3)))


def test_a_metric_of_the_first_candidates_has_its_k_in_its_name():
    assert by_request((1, 3)) == ("hr@1", "hr@3", "ndcg@1", "ndcg@3", "mrr", "request_auc")
    assert [cut_off(name) for name in ("hr@12", "ndcg@1", "mrr", "hr", "hr@0", "auc@5")] == [12, 1, *[None] * 4]
    assert (metric("hr@3").title, metric("ndcg@3").title, metric("mrr").title) == ("HR@3", "NDCG@3", "MRR")
    assert outlined(by_request((1, 3))) == ("hr@3", "ndcg@3", "mrr", "request_auc")
    # What older runs wrote has no k.
    assert cut_offs(["auc"]) == list(DEFAULT_AT_K)


def test_what_is_shown():
    assert SHOWN == ("auc", "gauc", "log_loss", "normalized_entropy", "calibration")
