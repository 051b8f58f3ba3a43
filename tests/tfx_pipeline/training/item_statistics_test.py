"""Counts of items: of the train split, and of nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.training.item_statistics import item_statistics
from tfx_pipeline.training.model_schema import ranking_schema

BOTH = ("impressions", "positives")


def counted(requests, split: str) -> tuple[Counter, Counter]:
    """Impressions and positives of a split's raw examples, by item."""
    impressions, positives = Counter(), Counter()
    files = [str(path) for path in (requests / f"Split-{split}").iterdir()]
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        items = [item.decode() for item in feature[raw_features.CANDIDATE_ITEM_ID].bytes_list.value]
        labels = feature[raw_features.LABEL].int64_list.value
        impressions.update(items)
        positives.update(item for item, label in zip(items, labels, strict=True) if label)
    return impressions, positives


@pytest.fixture(scope="module")
def found(tiny_data):
    data = tiny_data.training_data
    return item_statistics(BOTH, data.files["train"], data.tft_output, data.content)


def test_counts_are_those_of_train_and_no_event_of_eval_is_among_them(tiny_world, tiny_data, found):
    items = tiny_data.training_data.content.item_ids
    train, later = counted(tiny_world.requests, "train"), counted(tiny_world.requests, "eval")
    for name, of_train, of_eval in zip(BOTH, train, later, strict=True):
        assert found[name].dtype == np.int64 and found[name][0] == 0
        assert found[name][1:].tolist() == [of_train[item] for item in items]
        # Events were planted in eval: of items that train has too, and of items that it has not.
        assert any(of_eval[item] and of_train[item] for item in items)
        cold = [row for row, item in enumerate(items, 1) if of_eval[item] and not of_train[item]]
        assert len(cold) > 3 and not found[name][cold].any()


def test_a_catalogue_that_lacks_a_trained_item_has_no_row_for_it(tiny_data, found):
    data = tiny_data.training_data
    last = type(data.content)(data.content.item_ids[10:], {})
    some = item_statistics(BOTH, data.files["train"], data.tft_output, last)
    for name in BOTH:
        assert some[name].tolist() == [0, *found[name][11:]]


def test_the_schema_names_what_the_model_reads(tiny_data):
    data = tiny_data.training_data
    schema = ranking_schema(data.features, data.tft_output, data.content, item_statistics=["positives"])
    assert schema.item_statistics == ("positives",)
    assert ranking_schema(data.features, data.tft_output, data.content).item_statistics == ()
