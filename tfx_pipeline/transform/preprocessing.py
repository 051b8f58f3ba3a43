"""`preprocessing_fn` of the Transform component: vocabularies, scaling and the var-len request features."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from tfx_pipeline.config.columns import Categorical, Numeric, RequestCategorical, Vocabulary, of_several
from tfx_pipeline.config.schema import Features
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.transform import transformed_features


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Maps raw request features to transformed ones.

    Indices are 1-based: 0 is left for padding and for a missing value. Vocabularies count impressions of the train
    split only, so nothing of eval or test enters them. The history is looked up in the vocabulary of candidates:
    an item that was never a candidate in train has no trained row.

    Args:
        inputs: raw features by name; `tf.SparseTensor` [B, (length)] where the schema gives no fixed shape.
        custom_config: `{"features": <JSON of the configuration's features section>}`.

    Returns:
        Transformed features: scalars as dense [B], histories, their ages, candidates and their columns, and columns of
            several values as `tf.SparseTensor` [B, (length)].
    """
    features = Features.model_validate_json(custom_config["features"])
    candidates = _sparse(inputs[raw_features.CANDIDATE_ITEM_ID])
    history = _sparse(inputs[raw_features.HISTORY_ITEM_ID])
    items = _vocabulary(candidates, features.item_id, transformed_features.ITEM_VOCABULARY)
    tft.vocabulary(candidates, vocab_filename=transformed_features.ITEM_COUNTS, store_frequency=True)

    outputs = {
        transformed_features.CANDIDATE_INDEX: _index(candidates, items, features.item_id),
        transformed_features.HISTORY_INDEX: _index(history, items, features.item_id),
        transformed_features.CANDIDATE_ITEM: candidates,
        transformed_features.HISTORY_ITEM: history,
        transformed_features.LABEL: _sparse(inputs[raw_features.LABEL]),
    }
    for name in inputs:
        if name.startswith(raw_features.LABEL_PREFIX):
            objective = name.removeprefix(raw_features.LABEL_PREFIX)
            outputs[transformed_features.LABEL_PREFIX + objective] = _sparse(inputs[name])
    columns = {**features.user, **features.context}
    if raw_features.has_history_ages(inputs, {*columns, *features.candidate}):
        outputs[transformed_features.HISTORY_AGE] = _sparse(inputs[raw_features.HISTORY_AGE])
    for further in filter(None, map(raw_features.further_history_of, inputs)):
        seen = _sparse(inputs[raw_features.further_history_items(further)])
        made = {
            transformed_features.HISTORY_INDEX: _index(seen, items, features.item_id),
            transformed_features.HISTORY_ITEM: seen,
        }
        ages = raw_features.further_history_ages(further)
        if ages in inputs:
            made[transformed_features.HISTORY_AGE] = _sparse(inputs[ages])
        outputs |= {transformed_features.of_further_history(name, further): values for name, values in made.items()}
    if raw_features.WEIGHT in inputs:
        outputs[transformed_features.WEIGHT] = _sparse(inputs[raw_features.WEIGHT])
    if features.user_id is not None:
        user = _sparse(inputs[raw_features.USER_ID])
        users = _vocabulary(user, features.user_id, transformed_features.USER_VOCABULARY)
        outputs[transformed_features.USER_INDEX] = _scalar(_index(user, users, features.user_id), 0)
    several = of_several(columns)
    for name, column in columns.items():
        values = _sparse(inputs[name])
        outputs[transformed_features.transformed_column(name)] = (
            _several(name, values, several[name]) if name in several else _column(name, values, column)
        )
    for name, of_candidate in features.candidate.items():
        shown = _candidate_column(name, _sparse(inputs[name]), of_candidate)
        outputs[transformed_features.transformed_column(name)] = shown
    return outputs


def first_values(values: tf.SparseTensor, most: int) -> tf.SparseTensor:
    """The first `most` different values of each row that are not empty, from the left.

    Args:
        values: string [B, (length)].
        most: values of a row.

    Returns:
        string [B, (at most `most`)].
    """
    values = tf.sparse.retain(values, values.values != "")
    row = values.indices[:, 0]
    # A value that a row repeats counts at its first place; a number and a space before it make it the row's own.
    own = tf.strings.join([tf.strings.as_string(row), values.values], separator=" ")
    place = tf.range(tf.size(own))
    different, index = tf.unique(own)
    first = tf.math.unsorted_segment_min(place, index, tf.size(different))
    rows = tf.RaggedTensor.from_value_rowids(
        tf.gather(values.values, first), tf.gather(row, first), values.dense_shape[0], validate=False
    )
    return rows[:, :most].to_sparse()


def _several(name: str, values: tf.SparseTensor, column: RequestCategorical) -> tf.SparseTensor:
    """Indices of the values that count, which are those of the vocabulary too."""
    kept = first_values(values, column.max_values)
    return _index(kept, _vocabulary(kept, column, transformed_features.column_vocabulary(name)), column)


def _candidate_column(name: str, values: tf.SparseTensor, column: Categorical | Numeric) -> tf.SparseTensor:
    """Of each candidate the index, 0 where the value is missing, or the scaled number, 0 (the mean) where missing."""
    if isinstance(column, Categorical):
        vocabulary = _vocabulary(values, column, transformed_features.column_vocabulary(name))
        index = _index(values, vocabulary, column)
        return index.with_values(tf.where(values.values == "", tf.zeros_like(index.values), index.values))
    missing = tf.math.is_nan(values.values)
    if column.scaling == "quantiles":
        present = tf.boolean_mask(values.values, ~missing)
        # As `tft.bucketize` has it, which would count NaN.
        epsilon = min(1 / column.buckets, 0.01)
        boundaries = tft.quantiles(present, column.buckets, epsilon, name=f"{name}_buckets")
        buckets = tft.apply_buckets(values, boundaries)
        return buckets.with_values(tf.where(missing, tf.zeros_like(buckets.values), buckets.values + 1))
    # Mean and variance leave NaN out.
    scaled = tft.scale_to_z_score(values, name=f"{name}_scale")
    return scaled.with_values(tf.where(missing, tf.zeros_like(scaled.values), scaled.values))


def _column(name: str, values: tf.SparseTensor, column: Categorical | Numeric) -> tf.Tensor:
    if isinstance(column, Categorical):
        vocabulary = _vocabulary(values, column, transformed_features.column_vocabulary(name))
        return _scalar(_index(values, vocabulary, column), 0)
    if column.scaling == "quantiles":
        buckets = tft.bucketize(values, column.buckets, name=f"{name}_buckets")
        return _scalar(buckets.with_values(buckets.values + 1), 0)
    # A missing value becomes 0, the mean.
    return _scalar(tft.scale_to_z_score(values, name=f"{name}_scale"), 0.0)


def _vocabulary(values: tf.SparseTensor, vocabulary: Vocabulary, name: str) -> Any:
    return tft.vocabulary(
        values,
        frequency_threshold=vocabulary.min_count if vocabulary.min_count > 1 else None,
        top_k=vocabulary.max_size,
        vocab_filename=name,
    )


def _index(values: tf.SparseTensor, deferred_vocabulary: Any, vocabulary: Vocabulary) -> tf.SparseTensor:
    found = tft.apply_vocabulary(values, deferred_vocabulary, num_oov_buckets=vocabulary.oov_buckets)
    return found.with_values(found.values + 1)


def _sparse(values: tf.Tensor | tf.SparseTensor) -> tf.SparseTensor:
    """A curated schema may fix shapes, an inferred one does not: from here on there is one form."""
    if isinstance(values, tf.SparseTensor):
        return values
    if values.shape.rank == 1:
        values = values[:, tf.newaxis]
    return tf.SparseTensor(
        tf.where(tf.ones_like(values, tf.bool)), tf.reshape(values, [-1]), tf.shape(values, tf.int64)
    )


def _scalar(values: tf.SparseTensor, default: float) -> tf.Tensor:
    """[B, (0 or 1)] to dense [B]."""
    one = tf.SparseTensor(values.indices, values.values, tf.stack([values.dense_shape[0], 1]))
    return tf.sparse.to_dense(one, default_value=tf.cast(default, values.dtype))[:, 0]
