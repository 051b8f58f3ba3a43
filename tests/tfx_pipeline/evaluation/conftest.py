"""Requests and models small enough to be scored a second time by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tfx.components.evaluator import constants as evaluator_constants
from tfx.components.evaluator import executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.types import standard_component_specs as specs
from tfx.utils import json_utils, proto_utils

from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.evaluation.eval_config import make_eval_config
from tfx_pipeline.evaluation.item_facts import write_item_facts
from tfx_pipeline.runners import beam_graphs
from tfx_pipeline.runners.beam_args import runner_args

BEAM_ARGS = runner_args(["--runner=DirectRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1"])


@dataclasses.dataclass(frozen=True)
class Request:
    """One request as it lies in the examples."""

    user: str
    split: str
    history: list[str]
    candidates: list[str]
    labels: list[int]

    def serialise(self) -> bytes:
        def text(values):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode() for value in values]))

        feature = {
            raw_features.USER_ID: text([self.user]),
            raw_features.SPLIT: text([self.split]),
            raw_features.CANDIDATE_ITEM_ID: text(self.candidates),
            raw_features.LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=self.labels)),
            raw_features.REQUEST_TIME: tf.train.Feature(int64_list=tf.train.Int64List(value=[0])),
        }
        if self.history:  # an empty list is left out, as TFX's own writers do
            feature[raw_features.HISTORY_ITEM_ID] = text(self.history)
        return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


class HashModel(tf.Module):
    """Scores item "i<number>" by arithmetic on the number and the history's length, exact in float32; equal items tie.

    Padding scores NaN, which would spoil every metric that let it in. An item of `nan_item` scores NaN too.
    """

    def __init__(self, multiplier: int, nan_item: str = ""):
        super().__init__()
        self._multiplier, self._nan_item = multiplier, nan_item

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        ragged = {
            name: tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64)
            for name in (raw_features.CANDIDATE_ITEM_ID, raw_features.HISTORY_ITEM_ID)
        }
        parsed = tf.io.parse_example(examples, ragged)
        items = parsed[raw_features.CANDIDATE_ITEM_ID]
        lengths = tf.gather(parsed[raw_features.HISTORY_ITEM_ID].row_lengths(), items.value_rowids())
        number = tf.strings.to_number(tf.strings.substr(items.values, 1, 9), tf.int64)
        scores = tf.cast(100 + number * self._multiplier % 11 * 64 + lengths, tf.float32) / 1024
        scores = tf.where(items.values == self._nan_item, float("nan"), scores)
        return {"score": items.with_values(scores).to_tensor(float("nan"))}


@dataclasses.dataclass(frozen=True)
class Workplace:
    """A folder of examples, in which models are made and evaluated by TFX's own Evaluator.

    Items i0 to i49 are in the facts, i50 to i59 are not; item n has n impressions, and content unless n is a multiple
    of 3.
    """

    root: Path
    requests: list[Request]
    facts: ClassVar = {f"i{item}": (item, item % 3 > 0) for item in range(50)}

    def write_examples(self) -> None:
        """One gzipped TFRecord file per split, as ExampleGen writes."""
        for split in ("eval", "test"):
            folder = self.root / "examples" / f"Split-{split}"
            folder.mkdir(parents=True)
            with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
                for request in self.requests:
                    if request.split == split:
                        writer.write(request.serialise())

    def save_model(self, name: str, evaluation: Evaluation, multiplier: int, nan_item: str = "") -> str:
        """Saves a `HashModel` as the trainer does; returns the artifact's URI."""
        folder = self.root / name / "Format-Serving"
        model = HashModel(multiplier, nan_item)
        tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})
        impressions, has_content = zip(*self.facts.values(), strict=True)
        write_item_facts(folder, list(self.facts), impressions, has_content, evaluation)
        return str(self.root / name)

    def rows(self, multiplier: int) -> pd.DataFrame:
        """Every candidate with the score that `HashModel(multiplier)` gives it, computed without TensorFlow."""
        rows = []
        for position, request in enumerate(self.requests):
            for item, label in zip(request.candidates, request.labels, strict=True):
                number = int(item[1:])
                impressions, has_content = self.facts.get(item, (0, False))
                rows.append(
                    {
                        "split": request.split,
                        "user": request.user,
                        "request": position,
                        "label": label,
                        "score": (100 + number * multiplier % 11 * 64 + len(request.history)) / 1024,
                        "history": len(request.history),
                        "impressions": impressions,
                        "content": "with" if has_content else "without",
                    }
                )
        return pd.DataFrame(rows)

    def evaluate(self, name: str, evaluation: Evaluation, model: str, baseline: str | None = None) -> tuple[str, bool]:
        """Runs the Evaluator's executor; returns the evaluation's folder and whether the model was blessed."""

        def artifact(kind, uri, **properties):
            result = kind()
            result.uri = str(uri)
            for key, value in properties.items():
                setattr(result, key, value)
            return result

        splits = artifact_utils.encode_split_names(["train", "eval", "test"])
        inputs = {
            specs.EXAMPLES_KEY: [artifact(standard_artifacts.Examples, self.root / "examples", split_names=splits)],
            specs.MODEL_KEY: [artifact(standard_artifacts.Model, model)],
        }
        if baseline:
            inputs[specs.BASELINE_MODEL_KEY] = [artifact(standard_artifacts.Model, baseline)]
        found, blessing = self.root / name / "evaluation", self.root / name / "blessing"
        outputs = {
            specs.EVALUATION_KEY: [artifact(standard_artifacts.ModelEvaluation, found)],
            specs.BLESSING_KEY: [artifact(standard_artifacts.ModelBlessing, blessing)],
        }
        properties = {
            specs.EVAL_CONFIG_KEY: proto_utils.proto_to_json(make_eval_config(evaluation)),
            specs.EXAMPLE_SPLITS_KEY: json_utils.dumps(["eval", "test"]),
            specs.MODULE_PATH_KEY: "tfx_pipeline.evaluation.extractors",
        }
        context = executor.Executor.Context(
            beam_pipeline_args=BEAM_ARGS, tmp_dir=str(self.root / "tmp"), unique_id=name
        )
        beam_graphs.remember()
        executor.Executor(context).Do(inputs, outputs, properties)
        files = {path.name for path in blessing.iterdir()}
        assert len(files) == 1, files
        return str(found), files == {evaluator_constants.BLESSED_FILE_NAME}


def random_requests(count: int, seed: int) -> list[Request]:
    """Requests of 40 users on 60 items: histories of 0 to 40, 1 to 6 candidates, labels that follow nothing."""
    rng = np.random.default_rng(seed)
    return [
        Request(
            user=f"u{rng.integers(0, 40)}",
            split=str(rng.choice(["eval", "test"])),
            history=[f"i{item}" for item in rng.integers(0, 60, rng.choice([0, rng.integers(1, 41)]))],
            candidates=[f"i{item}" for item in rng.integers(0, 60, size)],
            labels=rng.integers(0, 2, size).tolist(),
        )
        for size in rng.integers(1, 7, count)
    ]


@pytest.fixture(scope="session")
def workplace(tmp_path_factory) -> Workplace:
    """400 requests, written."""
    place = Workplace(tmp_path_factory.mktemp("evaluation"), random_requests(400, seed=11))
    place.write_examples()
    return place
