"""Which steps a change of the configuration runs again: every key is changed once."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tfx_pipeline.config import load_config
from tfx_pipeline.config.schema import PipelineConfig

ROOT = Path(__file__).resolve().parents[2]
SEARCH = "tuning={run_in_pipeline: true, space: {params.id_dim: {choice: [16, 32]}}}"
INGEST, CONTENT, TRANSFORM = "BehaviorLogExampleGen", "ItemContentGen", "Transform"
TUNER, TRAINER, EVALUATOR = "RankingTuner", "RankingTrainer", "Evaluator"
GATE, PUSHER, CONTENT_TUNER = "ServingGate", "Pusher", "ContentTuner"
RETRIEVAL = "RetrievalTrainer"
# The trainer has what ingestion depends on, for `dmf rank`.
LOGS = {INGEST, TRAINER}
TRAINING = {TUNER, TRAINER}
COLUMNS = {TRANSFORM, *TRAINING}
FINE_TUNING = {
    "of": "[text]",
    "keep": "[image]",
    "dim": 8,
    "epochs": 7,
    "patience": 7,
    "recall_at": 7,
    "batch_size": 7,
    "learning_rate": 0.5,
    "queue": 7,
    "momentum": 0.5,
    "hard_negatives": 7,
    "temperature": 0.5,
    "seed": 7,
}

# Key, another value, and the steps whose parameters change with it. What follows a step in the pipeline runs again too.
CHANGES = [
    ("encoders", "{text: {model: a.onnx, tokenizer: b.json, columns: [title]}}", set()),
    ("encoders", "{text: {kind: image, model: a.onnx, column: poster}}", set()),
    ("encoders", "{text: {kind: keras, columns: [title], width: 48}}", set()),
    ("name", "other", {TRAINER, PUSHER}),
    ("output", "elsewhere", {INGEST, *TRAINING, PUSHER}),
    ("data.interactions.path", "other.parquet", LOGS),
    ("data.interactions.format", "csv", LOGS),
    ("data.interactions.separator", ";", LOGS),
    ("data.interactions.quoting", "none", LOGS),
    ("data.interactions.escape", "x", LOGS),
    ("data.interactions.header", "[a, b]", LOGS),
    ("data.interactions.encoding", "latin-1", LOGS),
    ("data.interactions.columns.user", "other", LOGS),
    ("data.interactions.columns.item", "other", LOGS),
    ("data.interactions.columns.time", "other", LOGS),
    ("data.interactions.columns.label", "other", LOGS),
    ("data.interactions.columns.request", "other", LOGS),
    ("data.interactions.columns.weight", "other", LOGS),
    ("data.interactions.columns.event", "other", LOGS),
    ("data.interactions.columns.history.column", "other", LOGS),
    ("data.interactions.columns.history.times", "other", LOGS),
    ("data.interactions.columns.history.separator", "'|'", LOGS),
    ("data.interactions.columns.history.order", "newest_first", LOGS),
    ("data.interactions.impressions.separator", "'|'", LOGS),
    ("data.interactions.impressions.label_separator", "'-'", LOGS),
    ("negatives.train", 3, LOGS),
    ("negatives.eval", 9, LOGS),
    ("negatives.test", "{path: negatives.parquet}", LOGS),
    ("negatives.by", "popularity", LOGS),
    ("negatives.power", 0.5, LOGS),
    ("negatives.seed", 7, LOGS),
    ("data.interactions.time_unit", "s", LOGS),
    ("data.items.path", "other.csv", {*LOGS, CONTENT}),
    ("data.items.format", "parquet", {*LOGS, CONTENT}),
    ("data.items.separator", ";", {*LOGS, CONTENT}),
    ("data.items.quoting", "none", {*LOGS, CONTENT}),
    ("data.items.escape", "x", {*LOGS, CONTENT}),
    ("data.items.header", "[a, b]", {*LOGS, CONTENT}),
    ("data.items.encoding", "latin-1", {*LOGS, CONTENT}),
    ("data.items.id_column", "other", {*LOGS, CONTENT}),
    ("data.items.title_column", "other", {CONTENT, TRAINER}),
    ("data.users.path", "other.jsonl", LOGS),
    ("data.users.format", "csv", LOGS),
    ("data.users.separator", ";", LOGS),
    ("data.users.quoting", "none", LOGS),
    ("data.users.escape", "x", LOGS),
    ("data.users.header", "[a, b]", LOGS),
    ("data.users.encoding", "latin-1", LOGS),
    ("data.users.id_column", "other", LOGS),
    # Its content has a step of its own, `ImportSchemaGen`, which the runner gives a path of that content.
    ("data.schema_file", "schema.pbtxt", set()),
    ("data.max_bad_fraction", 0.5, LOGS),
    ("data.max_unknown_items", 0.1, LOGS),
    ("data.max_unmatched_profiles", 0.1, LOGS),
    ("data.earliest_time", "1999-01-01", LOGS),
    ("data.latest_time", "2099-01-01", LOGS),
    ("data.fail_on_leakage", "false", LOGS),
    ("objectives", "{click: {}, buy: {label: bought, given: click}}", {*LOGS, TUNER, EVALUATOR}),
    ("history.events", "all", LOGS),
    ("history.max_length", 7, {*LOGS, TUNER}),
    ("history.delay_s", 5, LOGS),
    ("history.age_buckets", 8, {*LOGS, TUNER}),
    ("history.sequences", "{buys: {events: [buy], max_length: 7}}", {*LOGS, TUNER}),
    ("split.fractions", "{train: 0.6, eval: 0.2, test: 0.2}", LOGS),
    ("split.train_from", "2025-03-02", LOGS),
    ("split", "{dates: {eval_from: 2025-03-25, test_from: 2025-03-28}}", LOGS),
    ("features.user_id", "null", COLUMNS),
    ("features.user_id.min_count", 3, COLUMNS),
    ("features.user_id.max_size", 99, COLUMNS),
    ("features.user_id.oov_buckets", 3, COLUMNS),
    ("features.item_id.min_count", 3, COLUMNS),
    ("features.item_id.max_size", 99, COLUMNS),
    ("features.item_id.oov_buckets", 3, COLUMNS),
    ("features.user", "{}", {INGEST, *COLUMNS}),
    ("features.user.gender.oov_buckets", 3, COLUMNS),
    ("features.user.age.buckets", 3, COLUMNS),
    ("features.context", "{}", {INGEST, *COLUMNS}),
    ("features.context.device.min_count", 3, COLUMNS),
    ("features.context.device.multiple", "true", {INGEST, *COLUMNS}),
    ("features.context.device.separator", "'|'", {INGEST, *COLUMNS}),
    ("features.context.device.max_values", 3, COLUMNS),
    ("features.candidate", "{position: {kind: numeric}}", {INGEST, *COLUMNS}),
    ("features.item", "{category: {kind: categorical}}", {CONTENT, *TRAINING}),
    ("content.modalities.text.dim", 8, {CONTENT}),
    ("content.modalities.text.dtype", "int8", {CONTENT}),
    ("content.max_unknown_fraction", 0.5, {CONTENT}),
    ("content.codes", "{of: text}", {CONTENT}),
    ("content.codes.levels", 2, {CONTENT}),
    ("content.codes.size", 8, {CONTENT}),
    ("content.codes.of", "image", {CONTENT}),
    # It adds a step, see below.
    ("content.fine_tuning", "{}", {CONTENT}),
    *((f"content.fine_tuning.{key}", value, {CONTENT, CONTENT_TUNER}) for key, value in FINE_TUNING.items()),
    ("model.name", "target_attention", TRAINING),
    # A model of the registry needs no module; `own_model_test.py` has one that does.
    ("model.module", "dmf_keras", set()),
    ("model.module_folder", "elsewhere", set()),
    ("model.params", "{id_dim: 16}", TRAINING),
    ("training.batch_size", 7, TRAINING),
    ("training.epochs", 7, TRAINING),
    ("training.patience", 7, TRAINING),
    ("training.learning_rate", 0.5, TRAINING),
    ("training.average_weights", "true", TRAINING),
    ("training.row_updates", "true", TRAINING),
    ("stages.retrieval.params", "{dim: 8}", {RETRIEVAL}),
    ("stages.retrieval.batch_size", 64, {RETRIEVAL}),
    ("stages.retrieval.epochs", 3, {RETRIEVAL}),
    ("stages.retrieval.patience", 5, {RETRIEVAL}),
    ("stages.retrieval.learning_rate", 0.5, {RETRIEVAL}),
    ("stages.retrieval.random_negatives", 7, {RETRIEVAL}),
    ("stages.retrieval.shown_negatives", "true", {RETRIEVAL}),
    ("stages.retrieval.hard_negatives", 7, {RETRIEVAL}),
    ("stages.retrieval.approximate.connectivity", 7, {TRAINER}),
    ("stages.retrieval.approximate.expansion_add", 7, {TRAINER}),
    ("stages.retrieval.approximate.expansion_search", 7, {TRAINER}),
    ("stages.retrieval.approximate.at", 7, {TRAINER}),
    ("stages.retrieval.approximate.min_recall", 0.7, {GATE}),
    ("stages.ranking.candidates", 7, {TRAINER}),
    ("stages.ranking.retrieval_weight", 7, {TRAINER}),
    ("training.keep_negatives", 0.5, TRAINING),
    ("training.max_candidates", 7, TRAINING),
    ("training.seed", 7, TRAINING),
    ("training.shuffle_buffer", 7, TRAINING),
    ("training.mixed_precision", "bfloat16", TRAINING),
    # It adds a step, see below, and changes where the gate's and the Pusher's model comes from.
    ("training.refit", "true", set()),
    ("evaluation.rare_below", 7, TRAINING),
    ("evaluation.head_from", 70, TRAINING),
    ("evaluation.history_edges", "[1, 7]", TRAINING),
    ("evaluation.at_k", "[3]", {EVALUATOR}),
    ("evaluation.thresholds", "{gauc: {min: 0.5}}", {EVALUATOR}),
    ("serving.push_dir", "pushed", {PUSHER}),
    ("serving.warmup_candidates", "[1, 7]", {TRAINER}),
    ("serving.max_score_difference", 0.5, {GATE}),
    ("serving.calibration", "platt", {TRAINER}),
    ("serving.precision", "bfloat16", {TRAINER}),
    ("serving.score", "click * buy", {TRAINER}),
    ("serving.explain", "true", {TRAINER}),
    ("comparison.models", "{dmf: {}}", set()),
    ("comparison.training", "{dmf: {batch_size: 7}}", set()),
    ("comparison.seeds", 7, set()),
    ("comparison.reference", "din", set()),
    ("tuning.algorithm", "bayesian", {TUNER}),
    ("tuning.trials", 7, {TUNER}),
    ("tuning.seed", 7, {TUNER}),
    ("tuning.objective", "auc", {TUNER}),
    ("tuning.space", "{params.id_dim: {choice: [8]}}", {TUNER}),
    ("beam.args", "[--runner=FlinkRunner, --environment_type=EXTERNAL]", set()),
    # How a cluster runs the steps is no matter of this machine's cache.
    ("kubeflow.image", "other", set()),
    ("kubeflow.pipeline_root", "other", set()),
    ("kubeflow.data_dir", "other", set()),
    ("kubeflow.data_root", "other", set()),
    ("kubeflow.push_dir", "other", set()),
    ("kubeflow.defaults.image", "other", set()),
    ("kubeflow.defaults.cpu", 3, set()),
    ("kubeflow.defaults.memory_gb", 3, set()),
    ("kubeflow.defaults.gpus", 3, set()),
    ("kubeflow.defaults.gpu_type", "other", set()),
    ("kubeflow.defaults.node_selector", "{pool: gpu}", set()),
    ("kubeflow.steps", "{RankingTrainer: {cpu: 3}}", set()),
    ("kubeflow.secret_env", "{KEY: secret/key}", set()),
]


# What a key cannot be given without.
_BUYS = ["data.interactions.columns.event=event_type", "history.sequences={buys: {events: [buy]}}"]
NEEDED = {
    "history.sequences": _BUYS,
    "data.interactions.columns.event": _BUYS,
    "serving.score": ["objectives={click: {}, buy: {label: bought, given: click}}"],
    **{f"content.codes.{key}": ["content.codes={of: text}"] for key in ("levels", "size", "of")},
    **{f"content.fine_tuning.{key}": ["content.fine_tuning={}"] for key in FINE_TUNING},
    "features.context.device.separator": ["features.context.device.multiple=true"],
    **{key: ["stages={}"] for key, *_ in CHANGES if key.startswith("stages.")},
    **{key: ["kubeflow={image: i, pipeline_root: r}"] for key, *_ in CHANGES if key.startswith("kubeflow.")},
    **{
        key: ["stages.retrieval.approximate={}"]
        for key, *_ in CHANGES
        if key.startswith("stages.retrieval.approximate.")
    },
}


@pytest.fixture(scope="module")
def config_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("config") / "pipeline_config.yaml"
    file.write_text((ROOT / "pipeline_config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return file


def _steps(file: Path, *settings: str) -> dict[str, Any]:
    """Execution properties of every step of the pipeline with a search, by the step's id."""
    from tfx_pipeline.pipeline import Fingerprints, create_pipeline
    from tfx_pipeline.runners import cache_keys

    pipeline = create_pipeline(
        load_config(file, [SEARCH, *settings]), Fingerprints("", "", dict.fromkeys(cache_keys._CODE, ""))
    )
    return {node.id: node.exec_properties for node in pipeline.components}


@pytest.fixture(scope="module")
def before(config_file) -> dict[str, Any]:
    return _steps(config_file)


def test_equal_configurations_give_equal_parameters(config_file, before):
    assert _steps(config_file) == before
    assert list(before) == [
        *(INGEST, CONTENT, "StatisticsGen", "SchemaGen", "ExampleValidator", TRANSFORM),
        *(TUNER, TRAINER, "LatestBlessedModel", GATE, EVALUATOR, PUSHER),
    ]


@pytest.mark.parametrize(("key", "value", "steps"), CHANGES, ids=[key for key, *_ in CHANGES])
def test_a_changed_key_changes_the_parameters_of_exactly_these_steps(config_file, before, key, value, steps):
    needed = NEEDED.get(key, ())
    before = _steps(config_file, *needed) if needed else before
    # Negatives are drawn where the log has positives alone.
    also = ["data.interactions.columns.label=null"] if key.startswith("negatives.") else []
    if key.startswith("data.interactions.columns.history."):
        also = ["data.interactions.columns.history.column=past"]
    after = _steps(config_file, *needed, *also, f"{key}={value}")
    assert {step for step in before if before[step] != after[step]} == steps


def test_a_refit_is_a_step_of_its_own_whose_model_is_gated_and_pushed(config_file, before):
    from tfx_pipeline.pipeline import Fingerprints, create_pipeline
    from tfx_pipeline.runners import cache_keys

    code = Fingerprints("", "", dict.fromkeys(cache_keys._CODE, ""))
    pipeline = create_pipeline(load_config(config_file, [SEARCH, "training.refit=true"]), code)
    steps = {node.id: node for node in pipeline.components}
    assert set(steps) - set(before) == {"RefitTrainer"}
    refit = steps.pop("RefitTrainer")
    assert {name: step.exec_properties for name, step in steps.items()} == before
    assert refit.inputs["base_model"].producer_component_id == TRAINER
    assert refit.inputs["first_run"].producer_component_id == TRAINER
    assert refit.inputs["hyperparameters"].producer_component_id == TUNER
    producers = {name: steps[name].inputs["model"].producer_component_id for name in (EVALUATOR, GATE, PUSHER)}
    assert producers == {EVALUATOR: TRAINER, GATE: "RefitTrainer", PUSHER: "RefitTrainer"}
    assert steps[PUSHER].inputs["model_blessing"].producer_component_id == EVALUATOR
    assert "first_run" not in steps[TRAINER].inputs and "base_model" not in steps[TRAINER].inputs


def test_retrieval_is_a_step_of_its_own_which_another_ranker_does_not_run_again(config_file, before):
    from tfx_pipeline.pipeline import Fingerprints, create_pipeline
    from tfx_pipeline.runners import cache_keys

    code = Fingerprints("", "", dict.fromkeys(cache_keys._CODE, ""))
    refitted = create_pipeline(load_config(config_file, [SEARCH, "training.refit=true", "stages={}"]), code)
    steps = {node.id: node for node in refitted.components}
    assert set(steps) - set(before) == {RETRIEVAL, "RefitTrainer"}
    for trainer in (TRAINER, "RefitTrainer"):
        assert steps[trainer].inputs["retrieval_run"].producer_component_id == RETRIEVAL
    assert steps[PUSHER].inputs["model"].producer_component_id == "RefitTrainer"
    one, other = (
        _steps(config_file, "stages={}", *settings)[RETRIEVAL]
        for settings in ((), ("model.name=din", "training.epochs=9", "evaluation.rare_below=3", "serving.explain=true"))
    )
    assert one == other


def test_fine_tuning_is_a_step_of_its_own_whose_content_models_are_given(config_file, before):
    from tfx_pipeline.pipeline import Fingerprints, create_pipeline
    from tfx_pipeline.runners import cache_keys

    code = Fingerprints("", "", dict.fromkeys(cache_keys._CODE, ""))
    pipeline = create_pipeline(load_config(config_file, [SEARCH, "content.fine_tuning={}"]), code)
    steps = {node.id: node for node in pipeline.components}
    assert set(steps) - set(before) == {CONTENT_TUNER}
    assert list(steps).index(CONTENT_TUNER) < list(steps).index(TRANSFORM)
    tuner = steps[CONTENT_TUNER]
    producers = {name: channel.producer_component_id for name, channel in tuner.inputs.items()}
    assert producers == {"content_table": CONTENT, "examples": INGEST, "report": INGEST}
    for step in (TUNER, TRAINER):
        assert steps[step].inputs["content"].producer_component_id == CONTENT_TUNER


def test_another_number_of_buckets_of_ages_makes_no_examples_anew(config_file):
    before, after = (_steps(config_file, f"history.age_buckets={count}") for count in (8, 16))
    assert {step for step in before if before[step] != after[step]} == TRAINING


def test_without_a_search_every_other_step_has_the_same_parameters(config_file, before):
    after = _steps(config_file, "tuning={}")
    assert {step: before[step] for step in before if step != TUNER} == after


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        optional = () if typing.get_origin(field.annotation) is dict else typing.get_args(field.annotation)
        below = [one for one in (field.annotation, *optional) if isinstance(one, type) and issubclass(one, BaseModel)]
        # Exactly one key of `split` is given: it changes as a whole, as does what may be a number instead.
        whole = name == "split" or any(one is not type(None) for one in optional if one not in below)
        if below and not whole:
            yield from _keys(below[0], f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_key_of_the_configuration_is_changed_above():
    changed = {key for key, *_ in CHANGES} | {"tuning.run_in_pipeline"}
    # What lies below names of one's own counts for the section that has them.
    covered = [key for key in _keys(PipelineConfig) if any(one == key or one.startswith(f"{key}.") for one in changed)]
    assert covered == list(_keys(PipelineConfig))
