"""What the extractors refuse, and what rows and slices they make."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import model_eval_lib
from tensorflow_model_analysis.proto import config_pb2

from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.evaluation import extractors, slices
from tfx_pipeline.evaluation.eval_config import make_eval_config
from tfx_pipeline.evaluation.item_facts import write_item_facts
from tfx_pipeline.evaluation.known_users import KnownUsers, write_known_users

EVALUATION = Evaluation()


class ConstantModel(tf.Module):
    """Answers every batch with the same array."""

    def __init__(self, scores: np.ndarray, output: str):
        super().__init__()
        self._scores, self._output = scores, output

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {self._output: tf.constant(self._scores, tf.float32)}


def record_batch(**columns: list) -> pa.RecordBatch:
    """A batch of two requests as TFX reads it; a column given as None is absent."""
    values = {
        raw_features.USER_ID: [[b"u"], [b"v"]],
        raw_features.SPLIT: [[b"test"], [b"eval"]],
        raw_features.CANDIDATE_ITEM_ID: [[b"a", b"b"], [b"a"]],
        raw_features.LABEL: [[1, 0], [0]],
        constants.ARROW_INPUT_COLUMN: [[b""], [b""]],
    } | columns
    return pa.RecordBatch.from_pydict({name: column for name, column in values.items() if column is not None})


@pytest.fixture
def scorer(tmp_path):
    """Makes a `_ScoreCandidates` over a model that gives `scores` under the name `output`, ready to process."""

    def make(scores, output="score"):
        model = ConstantModel(np.array(scores), output)
        tf.saved_model.save(model, str(tmp_path), signatures={"serving_default": model.serve})
        write_item_facts(tmp_path, ["a", "b"], [200, 0], [True, False], EVALUATION)
        config = make_eval_config(EVALUATION)
        shared = model_eval_lib.default_eval_shared_model(str(tmp_path), eval_config=config)
        first, _ = extractors.custom_extractors(shared, config, None)
        score = first.ptransform.fn
        score.setup()
        return lambda batch: list(score.process({constants.ARROW_RECORD_BATCH_KEY: batch}))

    return make


def test_flattened_rows_leave_padding_out(scorer):
    [rows] = scorer([[0.25, 0.5, 9.0], [0.75, np.nan, np.nan]])(record_batch())
    assert rows[constants.PREDICTIONS_KEY].tolist() == [0.25, 0.5, 0.75]
    assert rows[constants.LABELS_KEY].tolist() == [True, False, False]
    columns = rows[constants.FEATURES_KEY]
    users = columns["user_key"]
    assert users.dtype == np.uint64
    assert users[0] == users[1] != users[2]
    assert list(columns[slices.SPLIT]) == ["test", "test", "eval"]
    assert list(columns[slices.ITEM_FREQUENCY]) == ["head", "cold", "head"]
    assert list(columns[slices.CONTENT]) == ["with", "without", "with"]
    assert list(columns[slices.HISTORY_LENGTH]) == ["empty"] * 3  # the column is absent: no request has a history


def test_a_model_that_knows_its_users_has_a_slice_by_them(scorer, tmp_path):
    write_known_users(tmp_path, KnownUsers.of(["v", "w"]))
    [rows] = scorer([[0.25, 0.5], [0.75, 0.5]])(record_batch())
    assert list(rows[constants.FEATURES_KEY][slices.USER]) == ["new", "new", "known"]
    cut = list(extractors._CutIntoSlices(slices.SLICINGS).process(rows))
    by_key = {part[constants.SLICE_KEY_TYPES_KEY][0]: part[constants.PREDICTIONS_KEY].tolist() for part in cut}
    assert by_key[("split", "test"), ("user", "new")] == [0.25, 0.5]
    assert by_key[("split", "eval"), ("user", "known")] == [0.75]


def test_history_of_some_requests_only(scorer):
    history = {raw_features.HISTORY_ITEM_ID: [None, [b"a"] * 12]}
    [rows] = scorer([[0.25, 0.5], [0.75, 0.5]])(record_batch(**history))
    assert list(rows[constants.FEATURES_KEY][slices.HISTORY_LENGTH]) == ["empty", "empty", "10-29"]


def test_a_history_column_that_is_null_throughout(scorer):
    batch = record_batch(**{raw_features.HISTORY_ITEM_ID: pa.nulls(2)})
    [rows] = scorer([[0.25, 0.5], [0.75, 0.5]])(batch)
    assert list(rows[constants.FEATURES_KEY][slices.HISTORY_LENGTH]) == ["empty"] * 3


def test_a_batch_without_any_candidate_gives_nothing(scorer):
    empty = {raw_features.CANDIDATE_ITEM_ID: None, raw_features.LABEL: None}
    assert scorer([[0.5], [0.5]])(record_batch(**empty)) == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({raw_features.LABEL: [[1], [0]]}, "user b'u' has 2 candidates but 1 labels"),
        ({raw_features.LABEL: None}, "2 candidates but 0 labels"),
        ({raw_features.SPLIT: None}, "2 of 2 examples lack a single value of 'split'"),
        ({raw_features.USER_ID: [[b"u"], None]}, "1 of 2 examples lack a single value of 'user_id'"),
    ],
)
def test_examples_of_another_shape_are_refused(scorer, columns, message):
    with pytest.raises(DataError, match=message):
        scorer([[0.25, 0.5], [0.75, 0.5]])(record_batch(**columns))


@pytest.mark.parametrize(
    ("scores", "output", "message"),
    [
        ([[0.5], [0.5]], "score", r"scores of shape \(2, 1\) for 2 requests of at most 2 candidates"),
        ([0.5, 0.5], "score", r"shape \(2,\)"),
        ([[0.5, 0.5]], "score", r"shape \(1, 2\)"),
        ([[0.5, 0.5]] * 2, "logits", r"returns \['logits'\], expected 'score'"),
    ],
)
def test_models_that_break_the_contract_are_refused(scorer, scores, output, message):
    with pytest.raises(ModelError, match=message):
        scorer(scores, output)(record_batch())


def test_a_model_without_item_facts_is_refused_before_the_run(tmp_path):
    model = ConstantModel(np.zeros((1, 1)), "score")
    tf.saved_model.save(model, str(tmp_path), signatures={"serving_default": model.serve})
    config = make_eval_config(EVALUATION)
    shared = model_eval_lib.default_eval_shared_model(str(tmp_path), eval_config=config)
    with pytest.raises(ModelError, match=r"item_facts\.parquet is absent"):
        extractors.custom_extractors(shared, config, None)


@pytest.mark.parametrize(
    "spec",
    [
        config_pb2.SlicingSpec(),
        config_pb2.SlicingSpec(feature_keys=["split", "age"]),
        config_pb2.SlicingSpec(feature_keys=["split"], feature_values={"content": "with"}),
    ],
)
def test_slicings_without_a_column_are_refused(spec):
    with pytest.raises(ValueError, match="slicing specs want feature_keys out of"):
        extractors._slicing(spec)


def test_slices_partition_the_rows(scorer):
    score = scorer([[0.25, 0.5], [0.75, 0.5]])
    [rows] = score(record_batch())
    cut = list(extractors._CutIntoSlices(slices.SLICINGS).process(rows))
    by_key = {part[constants.SLICE_KEY_TYPES_KEY][0]: part[constants.PREDICTIONS_KEY].tolist() for part in cut}
    assert by_key == {
        (("split", "test"),): [0.25, 0.5],
        (("split", "eval"),): [0.75],
        (("split", "test"), ("item_frequency", "head")): [0.25],
        (("split", "test"), ("item_frequency", "cold")): [0.5],
        (("split", "eval"), ("item_frequency", "head")): [0.75],
        (("split", "test"), ("history_length", "empty")): [0.25, 0.5],
        (("split", "eval"), ("history_length", "empty")): [0.75],
        (("split", "test"), ("content", "with")): [0.25],
        (("split", "test"), ("content", "without")): [0.5],
        (("split", "eval"), ("content", "with")): [0.75],
    }
