"""Rankers by counts: their scores against counting by hand, and what is read of raw examples."""

from __future__ import annotations

import numpy as np
import pytest

from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation.baselines import PRIOR_IMPRESSIONS, ShownItems, baselines, read_shown_items
from tfx_pipeline.evaluation.metrics import CandidateAUC, LogLoss


def shown(*rows: tuple[str, int]) -> ShownItems:
    items, labels = zip(*rows, strict=True)
    return ShownItems(
        np.array(labels, bool),
        np.array([item.encode() for item in items], object),
        np.arange(len(rows), dtype=np.uint64),
    )


TRAIN = shown(("a", 1), ("a", 0), ("a", 0), ("b", 1), ("b", 1), ("c", 0), ("c", 0), ("c", 0), ("c", 0), ("c", 0))
TEST = shown(("a", 0), ("b", 1), ("c", 0), ("new", 1))


def test_scores_are_those_of_counting_by_hand():
    found = baselines(TRAIN, TEST)
    rate = 3 / 10
    np.testing.assert_allclose(found.constant.predictions, [rate] * 4, rtol=1e-6)
    np.testing.assert_allclose(found.popularity.predictions, [0.3, 0.2, 0.5, 0], rtol=1e-6)
    prior = PRIOR_IMPRESSIONS
    expected = [(clicks + prior * rate) / (number + prior) for clicks, number in ((1, 3), (2, 2), (0, 5), (0, 0))]
    np.testing.assert_allclose(found.click_rate.predictions, expected, rtol=1e-6)


def test_a_constant_ranks_nothing_and_its_log_loss_is_the_entropy_of_its_rate():
    found = baselines(TRAIN, shown(*[("a", 1)] * 3, *[("b", 0)] * 7)).constant
    assert CandidateAUC.compute(found) == 0.5
    assert LogLoss.compute(found) == pytest.approx(-(0.3 * np.log(0.3) + 0.7 * np.log(0.7)), rel=1e-6)


def test_what_is_read_are_the_candidates_that_the_evaluator_sees(tiny_data):
    found = read_shown_items(tiny_data.examples["eval"])
    impressions, _ = tiny_data.facts.look_up(found.items)
    train = read_shown_items([file.replace("Split-eval", "Split-train") for file in tiny_data.examples["eval"]])
    counted = baselines(train, found).popularity.predictions * len(train.labels)
    np.testing.assert_allclose(counted, impressions, rtol=1e-5)
    assert len(found.labels) == len(found.items) == len(found.users)
    assert 0 < found.labels.mean() < 1


def test_nothing_to_read_is_refused(tmp_path):
    import tensorflow as tf

    file = tmp_path / "empty.gz"
    tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions(compression_type="GZIP")).close()
    with pytest.raises(DataError, match="there are no candidates to count"):
        read_shown_items([str(file)])
