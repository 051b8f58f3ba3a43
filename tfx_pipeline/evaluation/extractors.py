"""From batches of requests to candidate rows: the module that the TFX Evaluator is pointed at.

Two extractors replace TFMA's default seven. `ScoreCandidates` asks each model's `serving_default` for a batch and
flattens requests to candidate rows, padding left out. `ExtractSliceKeys` cuts the rows of a batch into one extract per
slice. Rows stay in arrays all the way: an extract is a batch within a slice, never a row, which is what makes TFMA fast
(its own path builds Python objects per row; tensorflow/model-analysis issue 108).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.extractors import extractor, slice_key_extractor
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.utils import model_util

from serving import contract
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.evaluation import slices
from tfx_pipeline.evaluation.item_facts import read_item_facts, require_item_facts
from tfx_pipeline.evaluation.joint import joint_probabilities
from tfx_pipeline.evaluation.known_users import read_known_users
from tfx_pipeline.evaluation.metrics import REQUEST_KEY, USER_KEY

_SIGNATURE = "serving_default"


def custom_extractors(
    eval_shared_model: types.MaybeMultipleEvalSharedModels,
    eval_config: config_pb2.EvalConfig,
    tensor_adapter_config: Any = None,
) -> list[extractor.Extractor]:
    """What TFX calls, by this name and with these arguments.

    Args:
        eval_shared_model: the candidate model, or candidate and baseline.
        eval_config: as of `make_eval_config`; its slicing specs must name columns of `slices`.
        tensor_adapter_config: part of TFX's call; the models parse serialised examples themselves.

    Returns:
        The extractors in order; the last bears the name that TFMA's evaluator runs after.

    Raises:
        ModelError: the candidate model has no item facts.
        ValueError: a slicing spec that these extractors cannot serve.
    """
    del tensor_adapter_config
    models = model_util.verify_and_update_eval_shared_models(eval_shared_model)
    candidate = next(model for model in models if not model.is_baseline)
    require_item_facts(candidate.model_path)
    return [
        extractor.Extractor(stage_name="ScoreCandidates", ptransform=beam.ParDo(_ScoreCandidates(models, candidate))),
        extractor.Extractor(
            stage_name=slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME,
            ptransform=beam.ParDo(_CutIntoSlices([_slicing(spec) for spec in eval_config.slicing_specs])),
        ),
    ]


def _slicing(spec: config_pb2.SlicingSpec) -> tuple[str, ...]:
    columns = tuple(sorted(spec.feature_keys))
    known = {column for slicing in slices.SLICINGS for column in slicing}
    if spec.feature_values or spec.slice_keys_sql or not columns or not known.issuperset(columns):
        raise ValueError(f"slicing specs want feature_keys out of {sorted(known)} and nothing else, got: {spec}")
    return columns


@beam.typehints.with_input_types(types.Extracts)
@beam.typehints.with_output_types(types.Extracts)
class _ScoreCandidates(beam.DoFn):
    """A batch of requests in, one extract of its candidate rows out.

    With T objectives labels and predictions are [n, T], joint probabilities of conditional ones.

    The extract: labels bool [n], predictions float32 [n] (a dict of them by model name when there is a baseline),
    features `USER_KEY` uint64 [n], `REQUEST_KEY` int32 [n] and a `pandas.Categorical` [n] per slice column.
    """

    def __init__(self, models: Sequence[types.EvalSharedModel], candidate: types.EvalSharedModel):
        self._loaders = {model.model_name: model.model_loader for model in models}
        self._paths = {model.model_name: model.model_path for model in models}
        self._candidate_path = candidate.model_path
        self._objectives = {model.model_name: _objectives(model.model_path) for model in models}
        self._given = self._objectives[candidate.model_name]

    def setup(self) -> None:
        self._models = {name: loader.load() for name, loader in self._loaders.items()}
        self._facts = read_item_facts(self._candidate_path)
        self._known_users = read_known_users(self._candidate_path)

    def process(self, extracts: types.Extracts) -> Iterator[types.Extracts]:
        batch: pa.RecordBatch = extracts[constants.ARROW_RECORD_BATCH_KEY]
        item_ids, candidates = _lists(batch, raw_features.CANDIDATE_ITEM_ID)
        labels = _labels(batch, raw_features.LABEL, candidates)
        if self._given:
            further = [raw_features.LABEL_PREFIX + name for name in list(self._given)[1:]]
            labels = np.stack([labels, *(_labels(batch, name, candidates) for name in further)], axis=1)
        if not candidates.any():
            return
        serialised = tf.constant(_lists(batch, constants.ARROW_INPUT_COLUMN)[0])
        predictions = {name: self._score(name, serialised, candidates) for name in self._models}
        evaluation = self._facts.evaluation
        impressions, has_content = self._facts.look_up(item_ids)
        histories = _lists(batch, raw_features.HISTORY_ITEM_ID)[1]
        user_keys = pd.util.hash_array(_scalars(batch, raw_features.USER_ID))
        by_user = {}
        if self._known_users is not None:
            by_user[slices.USER] = slices.user(self._known_users.look_up(user_keys)).repeat(candidates)
        split = pd.Categorical([value.decode() for value in _scalars(batch, raw_features.SPLIT)])
        yield {
            constants.LABELS_KEY: labels,
            constants.PREDICTIONS_KEY: predictions if len(predictions) > 1 else next(iter(predictions.values())),
            constants.FEATURES_KEY: {
                USER_KEY: np.repeat(user_keys, candidates),
                REQUEST_KEY: np.repeat(np.arange(len(candidates), dtype=np.int32), candidates),
                slices.SPLIT: split.repeat(candidates),
                slices.ITEM_FREQUENCY: slices.item_frequency(impressions, evaluation),
                slices.HISTORY_LENGTH: slices.history_length(histories, evaluation).repeat(candidates),
                slices.CONTENT: slices.content(has_content),
                **by_user,
            },
        }

    def _score(self, name: str, serialised: tf.Tensor, candidates: np.ndarray) -> np.ndarray:
        outputs = self._models[name].signatures[_SIGNATURE](examples=serialised)
        given = self._objectives[name]
        if not self._given:
            # What a baseline may predict beside it is not asked.
            wanted = contract.SCORE if not given else contract.SCORE_PREFIX + next(iter(given))
            return self._column(name, outputs, wanted, candidates)
        if not given:
            main = self._column(name, outputs, contract.SCORE, candidates)
            by_name = {next(iter(self._given)): main}
        else:
            own = {each: self._column(name, outputs, contract.SCORE_PREFIX + each, candidates) for each in given}
            by_name = joint_probabilities(own, given)
        # Objectives that a baseline does not predict.
        unknown = np.full(int(candidates.sum()), np.nan, np.float32)
        return np.stack([by_name.get(each, unknown) for each in self._given], axis=1)

    def _column(self, name: str, outputs: dict[str, tf.Tensor], output: str, candidates: np.ndarray) -> np.ndarray:
        if output not in outputs:
            raise ModelError(
                f"signature '{_SIGNATURE}' of {self._paths[name]} returns {sorted(outputs)}, expected '{output}'"
            )
        scores = outputs[output].numpy()
        if scores.ndim != 2 or len(scores) != len(candidates) or scores.shape[1] < candidates.max():
            raise ModelError(
                f"signature '{_SIGNATURE}' of {self._paths[name]} returned scores of shape {scores.shape} for"
                f" {len(candidates)} requests of at most {candidates.max()} candidates"
            )
        # Positions beyond a request's own candidates are padding and may hold anything.
        own: np.ndarray = scores[np.arange(scores.shape[1]) < candidates[:, np.newaxis]]
        return own.astype(np.float32)


@beam.typehints.with_input_types(types.Extracts)
@beam.typehints.with_output_types(types.Extracts)
class _CutIntoSlices(beam.DoFn):
    """An extract of candidate rows in, one extract per slice that has rows of it out."""

    def __init__(self, slicings: Sequence[tuple[str, ...]]):
        self._slicings = slicings

    def process(self, extracts: types.Extracts) -> Iterator[types.Extracts]:
        columns = extracts[constants.FEATURES_KEY]
        for slicing in self._slicings:
            if not columns.keys() >= set(slicing):
                continue
            shape = tuple(len(columns[name].categories) for name in slicing)
            cells = np.ravel_multi_index([columns[name].codes for name in slicing], shape)
            for cell in np.unique(cells):
                position = np.unravel_index(cell, shape)
                slice_key = tuple(
                    (name, str(columns[name].categories[code])) for name, code in zip(slicing, position, strict=True)
                )
                rows = cells == cell
                predictions = extracts[constants.PREDICTIONS_KEY]
                yield {
                    constants.SLICE_KEY_TYPES_KEY: slicer_lib.slice_keys_to_numpy_array([slice_key]),
                    constants.LABELS_KEY: extracts[constants.LABELS_KEY][rows],
                    constants.PREDICTIONS_KEY: (
                        {name: values[rows] for name, values in predictions.items()}
                        if isinstance(predictions, dict)
                        else predictions[rows]
                    ),
                    constants.FEATURES_KEY: {key: columns[key][rows] for key in (USER_KEY, REQUEST_KEY)},
                }


def _objectives(model_path: str) -> dict[str, str | None]:
    """What a model predicts and under which condition; nothing of a model of one objective, or without a contract."""
    try:
        return contract.ModelContract.read(model_path).objectives
    except FileNotFoundError:
        return {}


def _labels(batch: pa.RecordBatch, name: str, candidates: np.ndarray) -> np.ndarray:
    """Labels bool [n] of all candidates.

    Raises:
        DataError: a request has not one for each.
    """
    labels, counts = _lists(batch, name)
    if not np.array_equal(candidates, counts):
        request = int(np.flatnonzero(candidates != counts)[0])
        raise DataError(
            f"a request of user {_scalars(batch, raw_features.USER_ID)[request]!r} has {candidates[request]} "
            f"candidates but {counts[request]} labels{'' if name == raw_features.LABEL else f' in {name}'}; expected "
            "one label per candidate: generate the examples again"
        )
    return labels.astype(bool)


def _lists(batch: pa.RecordBatch, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of a feature, all requests behind one another, and their number per request (int64 [B])."""
    index = batch.schema.get_field_index(name)
    # A feature that no example of the batch has is absent from it, or of Arrow's null type.
    if index < 0 or pa.types.is_null(batch.schema.field(index).type):
        return np.empty(0, object), np.zeros(batch.num_rows, np.int64)
    column = batch.column(index)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return pc.list_flatten(column).to_numpy(zero_copy_only=False), lengths


def _scalars(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """Values of a feature that every request has once [B]."""
    values, lengths = _lists(batch, name)
    if (lengths != 1).any():
        raise DataError(
            f"{int((lengths != 1).sum())} of {batch.num_rows} examples lack a single value of '{name}';"
            " generate the examples with this pipeline's BehaviorLogExampleGen"
        )
    return values
