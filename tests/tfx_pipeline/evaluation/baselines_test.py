"""Rankers by counts: their scores against counting by hand, and what is read of raw examples."""

from __future__ import annotations

import numpy as np
import pytest

from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation.baselines import (
    PRIOR_IMPRESSIONS,
    ShownItems,
    baseline_metrics,
    baselines,
    read_shown_items,
    title,
)
from tfx_pipeline.evaluation.similarity import NOT_COMPARABLE


def shown(*rows: tuple[str, int]) -> ShownItems:
    items, labels = zip(*rows, strict=True)
    return ShownItems(
        np.array(labels, bool),
        np.array([item.encode() for item in items], object),
        np.arange(len(rows), dtype=np.uint64),
        np.arange(len(rows), dtype=np.int32) // 2,
    )


TRAIN = shown(("a", 1), ("a", 0), ("a", 0), ("b", 1), ("b", 1), ("c", 0), ("c", 0), ("c", 0), ("c", 0), ("c", 0))
TEST = shown(("a", 0), ("b", 1), ("c", 0), ("new", 1))


def test_scores_are_those_of_counting_by_hand():
    found = baselines(TRAIN, TEST)
    rate = 3 / 10
    np.testing.assert_allclose(found["constant"].predictions, [rate] * 4, rtol=1e-6)
    np.testing.assert_allclose(found["popularity"].predictions, [0.3, 0.2, 0.5, 0], rtol=1e-6)
    prior = PRIOR_IMPRESSIONS
    expected = [(clicks + prior * rate) / (number + prior) for clicks, number in ((1, 3), (2, 2), (0, 5), (0, 0))]
    np.testing.assert_allclose(found["click_rate"].predictions, expected, rtol=1e-6)


def test_a_constant_ranks_nothing_and_its_log_loss_is_the_entropy_of_its_rate():
    found = baselines(TRAIN, shown(*[("a", 1)] * 3, *[("b", 0)] * 7))
    constant = baseline_metrics(found, [1])["constant"]
    # Requests of two, the first of two clicks, the second of one click: all others have none.
    assert (constant["auc"], constant["request_auc"]) == (0.5, 0.5)
    assert constant["hr@1"] == pytest.approx((1 + 1 / 2) / 2)
    assert constant["log_loss"] == pytest.approx(-(0.3 * np.log(0.3) + 0.7 * np.log(0.7)), rel=1e-6)


def test_what_is_read_are_the_candidates_that_the_evaluator_sees(tiny_data):
    found = read_shown_items(tiny_data.examples["eval"])
    impressions, _ = tiny_data.facts.look_up(found.items)
    train = read_shown_items([file.replace("Split-eval", "Split-train") for file in tiny_data.examples["eval"]])
    counted = baselines(train, found)["popularity"].predictions * len(train.labels)
    np.testing.assert_allclose(counted, impressions, rtol=1e-5)
    assert len(found.labels) == len(found.items) == len(found.users) == len(found.requests)
    assert 0 < found.labels.mean() < 1


def test_nothing_to_read_is_refused(tmp_path):
    import tensorflow as tf

    file = tmp_path / "empty.gz"
    tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions(compression_type="GZIP")).close()
    with pytest.raises(DataError, match="there are no candidates to count"):
        read_shown_items([str(file)])


def test_similarity_is_the_largest_cosine_to_the_history(tiny_data):
    """Against loops over the examples; each modality for itself, missing content and empty histories last."""
    import tensorflow as tf

    content = tiny_data.training_data.content
    found = read_shown_items(tiny_data.examples["eval"], content)
    place = {item.encode(): row for row, item in enumerate(content.item_ids)}
    expected: dict[str, list[float]] = {name: [] for name in content.modalities}
    for record in tf.data.TFRecordDataset(tiny_data.examples["eval"], "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        for item in feature["candidate_item_id"].bytes_list.value:
            for name, matrix in content.modalities.items():
                past = [place[one] for one in feature["history_item_id"].bytes_list.value if one in place]
                past = [row for row in past if matrix.present[row]]
                row = place.get(item, -1)
                if row < 0 or not matrix.present[row] or not past:
                    expected[name].append(NOT_COMPARABLE)
                    continue
                cosines = matrix.vectors[past].astype(np.float64) @ matrix.vectors[row].astype(np.float64)
                expected[name].append(float(cosines.max()))
    for name, cosines in expected.items():
        np.testing.assert_allclose(found.similarity[name], cosines, atol=1e-5)
        assert (found.similarity[name] == NOT_COMPARABLE).any()
        assert (found.similarity[name] > 0).any()
    rankers = baselines(read_shown_items(tiny_data.examples["train"]), found)
    assert list(rankers) == [*(f"similarity@{name}" for name in expected), "click_rate", "popularity", "constant"]
    measured = baseline_metrics(rankers, [1, 5])
    assert {len(values) for values in measured.values()} == {8, 9}
    assert "log_loss" not in measured["popularity"]
    assert all(title(ranker) for ranker in rankers)
