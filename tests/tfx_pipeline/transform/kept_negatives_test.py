"""What stays with a request of which some candidates are left out."""

from __future__ import annotations

import tensorflow as tf

from tfx_pipeline.transform import transformed_features
from tfx_pipeline.transform.dataset import _with_some_negatives


def test_columns_of_several_values_stay_whole() -> None:
    labels = [[1, 0, 0], [0, 0], [], [0, 1]]
    transformed = {
        transformed_features.LABEL: tf.ragged.constant(labels, dtype=tf.int64).to_sparse(),
        # As many as candidates in one request, more and fewer in others.
        "tags_x": tf.ragged.constant([[1, 2, 3], [4], [5], [6, 7, 8, 9]], dtype=tf.int64).to_sparse(),
        "place_x": tf.constant([10, 11, 12, 13]),
    }
    found = _with_some_negatives(transformed, transformed_features.OF_CANDIDATES, 1e-9, tf.constant([1, 2]))
    assert tf.RaggedTensor.from_sparse(found[transformed_features.LABEL]).to_list() == [[1], [1]]
    assert tf.RaggedTensor.from_sparse(found["tags_x"]).to_list() == [[1, 2, 3], [6, 7, 8, 9]]
    assert found["place_x"].numpy().tolist() == [10, 13]
