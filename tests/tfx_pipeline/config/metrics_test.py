"""One list of metrics: whatever computes, compares or tunes by one has it from there."""

from __future__ import annotations

from tfx_pipeline.config.metrics import COMPARED, METRICS, SHOWN
from tfx_pipeline.evaluation import metrics
from tfx_pipeline.evaluation.bootstrap import RESAMPLED

# Counts that go with the metrics; a threshold on one would not be about quality.
COUNTS = {"gauc_skipped_users", "example_count", "base_rate"}


def test_the_evaluator_computes_each_in_this_order():
    computed = [metric.metric_name for metric in metrics.METRICS]
    assert [name for name in computed if name not in COUNTS] == list(METRICS)
    assert set(computed) >= COUNTS


def test_what_is_compared_is_shown_and_resampled():
    assert set(COMPARED) == set(RESAMPLED) <= set(SHOWN)


def test_what_is_shown():
    assert SHOWN == ("auc", "gauc", "log_loss", "normalized_entropy", "calibration")
