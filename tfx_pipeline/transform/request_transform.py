"""From requests to the dense tensors a ranking model takes: one way for training, evaluation and serving."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping

import tensorflow as tf
import tensorflow_transform as tft

from dmf_keras.models import inputs as model_inputs
from tfx_pipeline.config.columns import Categorical, Numeric, of_several
from tfx_pipeline.config.schema import Features
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files.addresses import Address
from tfx_pipeline.transform import transformed_features

Tensors = dict[str, tf.Tensor]


class RequestTransform(tf.Module):
    """The transform graph, the content lookup, and what follows them.

    Raw strings go in, model inputs come out (`dmf_keras.models.inputs` has their names). It holds the lookup tables
    of both, so an archive that exports a function using it must track `trackables`.

    Args:
        tft_output: output of the Transform component.
        item_ids_file: the content artifact's catalogue, one id a line; line i is content row i + 1.
        features: the configuration's features section.
        max_history: of a longer history the most recent items are kept.
        sequences: the same of further histories, by name; None: there are none.

    Attributes:
        history_ages: whether requests have ages of history items.
        further_histories: `sequences`.
    """

    def __init__(
        self,
        tft_output: tft.TFTransformOutput,
        item_ids_file: Address,
        features: Features,
        max_history: int,
        sequences: Mapping[str, int] | None = None,
    ):
        super().__init__()
        self.further_histories = dict(sequences or {})
        self._features = features
        self._tft_output = tft_output
        # Of raw features whose length is that of a history.
        self._longest = {raw_features.HISTORY_ITEM_ID: max_history}
        for name, most in self.further_histories.items():
            self._longest[raw_features.further_history_items(name)] = most
            self._longest[raw_features.further_history_ages(name)] = most
        self._raw_spec = {k: v for k, v in tft_output.raw_feature_spec().items() if not _is_label(k)}
        columns = {**features.user, **features.context, **features.candidate}
        self.history_ages = raw_features.has_history_ages(self._raw_spec, columns)
        if self.history_ages:
            self._longest[raw_features.HISTORY_AGE] = max_history
        self._layer = tft_output.transform_features_layer()
        self._first_oov_index = 1 + tft_output.vocabulary_size_by_name(transformed_features.ITEM_VOCABULARY)
        self._catalogue_file = tf.saved_model.Asset(os.fspath(item_ids_file))
        self._catalogue = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                self._catalogue_file.asset_path,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=-1,
        )

    @property
    def trackables(self) -> list[object]:
        """What an export must track beside the functions: the transform graph's tables, the lookup and its file."""
        # Not the layer: looking for tables in it, an archive traces its calls anew, to drop them.
        nodes = tf.train.TrackableView(self._layer).descendants()
        tables = [node for node in nodes if isinstance(node, tf.saved_model.experimental.TrackableResource)]
        return [*tables, self._catalogue, self._catalogue_file]

    @property
    def _history_features(self) -> dict[str, str]:
        """Of each history the raw features of its items and of their ages."""
        found = {raw_features.HISTORY_ITEM_ID: raw_features.HISTORY_AGE}
        for name in self.further_histories:
            found[raw_features.further_history_items(name)] = raw_features.further_history_ages(name)
        return found

    @property
    def candidate_inputs(self) -> dict[str, str]:
        """Raw inputs of each candidate: name to `string` or `float32`. How it was shown (role bias) is none."""
        columns = {name: column for name, column in self._features.candidate.items() if column.role == "feature"}
        return {name: _dtype(column) for name, column in columns.items()}

    @property
    def shown_columns(self) -> list[str]:
        """Candidate columns with role bias: how candidates were shown."""
        return [name for name in self._features.candidate if name not in self.candidate_inputs]

    @property
    def of_candidates(self) -> frozenset[str]:
        """Transformed features that have a value for each candidate."""
        columns = map(transformed_features.transformed_column, self._features.candidate)
        return transformed_features.OF_CANDIDATES.union(columns)

    @property
    def user_inputs(self) -> dict[str, str]:
        """Raw profile and context inputs: name to `string` or `float32`."""
        columns = {**self._features.user, **self._features.context}
        return {name: _dtype(column) for name, column in columns.items()}

    @property
    def user_lists(self) -> list[str]:
        """Those of `user_inputs` that may have several values."""
        return list(of_several({**self._features.user, **self._features.context}))

    def serving_values(self) -> dict[str, float]:
        """What candidate columns with role bias are outside of training, as model inputs: an index or scaled number.

        Raises:
            ModelError: the train split does not have such a name, so that no model can learn of it.
        """
        values = {}
        for name, column in self._features.candidate.items():
            if column.serving_value is None:
                continue
            one = tf.constant([[column.serving_value]], tf.string if isinstance(column, Categorical) else tf.float32)
            given = self._transform({name: _everywhere(one)})[transformed_features.transformed_column(name)]
            values[name] = given.values.numpy().item()
            if isinstance(column, Categorical):
                vocabulary = transformed_features.column_vocabulary(name)
                if values[name] > self._tft_output.vocabulary_size_by_name(vocabulary):
                    raise ModelError(
                        f"features.candidate.{name}.serving_value: {column.serving_value!r} is not in the vocabulary "
                        "of the train split; expected a value that its rows often have"
                    )
        return values

    def user(self, raw: Mapping[str, tf.Tensor]) -> Tensors:
        """Model inputs of the user part.

        Args:
            raw: user id string [B], history item ids string [B, L] oldest first ("" is padding), profile and
                context columns [B]: string ("" is missing) or float32 (NaN is missing); those of `user_lists` are
                string [B, W] ("" is padding, wherever it stands). Ages of the history's items float32 [B, L] (NaN is
                unknown) are left out for a model that does not read them, as are further histories.
        """
        sparse = {raw_features.USER_ID: _present(raw[raw_features.USER_ID])}
        histories = [name for name in self._history_features if name in raw]
        for name in histories:
            ages = self._history_features[name]
            if self.history_ages and ages in raw:
                # An age is there as long as its item is: that of an item may be unknown, and padding may have any.
                sparse[ages] = tf.ragged.boolean_mask(raw[ages], raw[name] != "").to_sparse()
        for name in (*histories, *self.user_lists):
            sparse[name] = _all_present(raw[name])
        sparse |= {name: _present(raw[name]) for name in self.user_inputs if name not in sparse}
        return self._user_inputs(self._transform(sparse))

    def candidates(self, raw: Mapping[str, tf.Tensor]) -> Tensors:
        """Model inputs of the candidates, each [B, N].

        Args:
            raw: item ids string [B, N] ("" is padding) and the columns of `candidate_inputs` [B, N]: string ("" is
                missing) or float32 (NaN is missing).
        """
        names = (raw_features.CANDIDATE_ITEM_ID, *self.candidate_inputs)
        return self._candidate_inputs(self._transform({name: _everywhere(raw[name]) for name in names}))

    def examples(self, serialized: tf.Tensor) -> Tensors:
        """All model inputs of serialised `tf.Example` requests, string [B]; candidates padded to the longest."""
        spec = {name: spec for name, spec in self._raw_spec.items() if name not in self.shown_columns}
        parsed = tf.io.parse_example(serialized, spec)
        for name in self.candidate_inputs:
            _check_one_each(name, parsed[name], parsed[raw_features.CANDIDATE_ITEM_ID], "candidate")
        for items, ages in self._history_features.items() if self.history_ages else ():
            _check_one_each(ages, parsed[ages], parsed[items], "history item")
        transformed = self._transform({k: _as_sparse(v) for k, v in parsed.items()})
        return self.model_inputs(transformed)

    def model_inputs(self, transformed: Mapping[str, tf.Tensor | tf.SparseTensor]) -> Tensors:
        """All model inputs of transformed features, as Transform materialises them for training."""
        return {**self._user_inputs(transformed), **self._candidate_inputs(transformed)}

    def _transform(self, sparse: Mapping[str, tf.SparseTensor]) -> Mapping[str, tf.Tensor | tf.SparseTensor]:
        fed = {}
        for name, values in sparse.items():
            if name not in self._raw_spec:
                continue
            spec = self._raw_spec[name]
            if name in self._longest:
                values = tf.RaggedTensor.from_sparse(values)[:, -self._longest[name] :].to_sparse()
            fed[name] = values if isinstance(spec, tf.io.VarLenFeature) else _dense(values, spec)
        transformed: Mapping[str, tf.Tensor | tf.SparseTensor] = self._layer(fed)
        return transformed

    def _user_inputs(self, transformed: Mapping[str, tf.Tensor | tf.SparseTensor]) -> Tensors:
        result = self._history_inputs(transformed, lambda name: name)
        for further in self.further_histories:
            of = functools.partial(transformed_features.of_further_history, history=further)
            # A request need not have one that a model does not read.
            if of(transformed_features.HISTORY_INDEX) in transformed:
                made = self._history_inputs(transformed, of)
                result |= {model_inputs.of_history(name, further): value for name, value in made.items()}
        if self._features.user_id is not None:
            result[model_inputs.USER_INDEX] = tf.cast(transformed[transformed_features.USER_INDEX], tf.int32)
        for name in self.user_inputs:
            value = transformed[transformed_features.transformed_column(name)]
            value = _padded(value, 0) if isinstance(value, tf.SparseTensor) else value
            result[name] = tf.cast(value, tf.int32) if value.dtype.is_integer else value
        return result

    def _history_inputs(
        self, transformed: Mapping[str, tf.Tensor | tf.SparseTensor], named: Callable[[str], str]
    ) -> Tensors:
        """The inputs of one history, whose transformed features are `named` so."""
        index, rows = self._items(
            transformed[named(transformed_features.HISTORY_INDEX)],
            transformed[named(transformed_features.HISTORY_ITEM)],
        )
        result = {model_inputs.HISTORY_INDEX: index, model_inputs.HISTORY_CONTENT_ROW: rows}
        # A request need not have them for a model that does not read them.
        ages = transformed.get(named(transformed_features.HISTORY_AGE))
        if ages is not None:
            result[model_inputs.HISTORY_AGE] = _padded(ages, math.nan)
        return result

    def _candidate_inputs(self, transformed: Mapping[str, tf.Tensor | tf.SparseTensor]) -> Tensors:
        index, rows = self._items(
            transformed[transformed_features.CANDIDATE_INDEX], transformed[transformed_features.CANDIDATE_ITEM]
        )
        result = {model_inputs.CANDIDATE_INDEX: index, model_inputs.CANDIDATE_CONTENT_ROW: rows}
        for name in self._features.candidate:
            column = transformed_features.transformed_column(name)
            # Only training has those with role bias.
            if column in transformed:
                value = _padded(transformed[column], 0)
                result[name] = tf.cast(value, tf.int32) if value.dtype.is_integer else value
        return result

    def _items(self, index: tf.SparseTensor, ids: tf.SparseTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Embedding and content rows, both int32 [B, W].

        An item that the catalogue lacks is out of vocabulary, however often the log has it: it cannot be ranked.
        """
        ids = _padded(ids, "")
        rows = self._catalogue.lookup(ids) + 1
        known = tf.where(rows > 0, _padded(index, 0), self._first_oov_index)
        return tf.cast(tf.where(ids == "", tf.zeros_like(known), known), tf.int32), tf.cast(rows, tf.int32)


_NEVER_INPUTS = frozenset({raw_features.LABEL, raw_features.WEIGHT, raw_features.REQUEST_TIME, raw_features.SPLIT})


def _is_label(name: str) -> bool:
    return name in _NEVER_INPUTS or name.startswith(raw_features.LABEL_PREFIX)


def _padded(values: tf.SparseTensor, padding: float | str) -> tf.Tensor:
    """Dense [B, W], W at least 1: a batch of nothing but empty histories keeps a (masked) position."""
    batch, width = tf.unstack(values.dense_shape)
    widened = tf.SparseTensor(values.indices, values.values, tf.stack([batch, tf.maximum(width, 1)]))
    return tf.sparse.to_dense(widened, default_value=tf.cast(padding, values.dtype) if padding == 0 else padding)


def _dtype(column: Categorical | Numeric) -> str:
    return "string" if isinstance(column, Categorical) else "float32"


def _everywhere(values: tf.Tensor) -> tf.SparseTensor:
    """Dense [B, N] to sparse, every value given, those that stand for a missing one too."""
    return tf.SparseTensor(
        tf.where(tf.ones_like(values, tf.bool)), tf.reshape(values, [-1]), tf.shape(values, tf.int64)
    )


def _check_one_each(name: str, values: tf.SparseTensor, items: tf.SparseTensor, each: str) -> None:
    """Fails, when it runs, on an example that has more or fewer values than items, which `each` is one of."""
    requests = tf.cast(items.dense_shape[0], tf.int32)
    have, wanted = (
        tf.math.bincount(tf.cast(one.indices[:, 0], tf.int32), minlength=requests, maxlength=requests)
        for one in (values, items)
    )
    tf.debugging.assert_equal(have, wanted, f"{name} must have one value for each {each}")


def _present(values: tf.Tensor) -> tf.SparseTensor:
    """Dense [B] to sparse [B, 1] without missing values ("" or NaN)."""
    present = values != "" if values.dtype == tf.string else ~tf.math.is_nan(values)
    rows = tf.where(present)
    indices = tf.concat([rows, tf.zeros_like(rows)], axis=1)
    return tf.SparseTensor(indices, tf.boolean_mask(values, present), [tf.size(values, tf.int64), 1])


def _all_present(values: tf.Tensor) -> tf.SparseTensor:
    """Strings [B, W] to sparse [B, (length)], from the left, without ""."""
    return tf.ragged.boolean_mask(values, values != "").to_sparse()


def _as_sparse(values: tf.Tensor | tf.SparseTensor) -> tf.SparseTensor:
    if isinstance(values, tf.SparseTensor):
        return values
    if values.shape.rank == 2 and values.shape[1] > 1:
        return _all_present(values)
    return _present(tf.reshape(values, [-1]))


def _dense(values: tf.SparseTensor, spec: tf.io.FixedLenFeature) -> tf.Tensor:
    """The form a curated schema with fixed shapes asks for: [B] or [B, W]."""
    default = spec.default_value
    if default is None:
        default = "" if spec.dtype == tf.string else 0
    width = spec.shape[0] if spec.shape else 1
    column = tf.RaggedTensor.from_sparse(values).to_tensor(default, [None, width])
    return column if spec.shape else column[:, 0]
