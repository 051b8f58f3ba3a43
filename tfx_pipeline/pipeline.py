"""`create_pipeline`: the configuration as a TFX pipeline. Building it reads no file and writes none; runners do."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from ml_metadata.proto import metadata_store_pb2

# Not from `tfx.v1`, which also imports Google's clients: four seconds of every run.
from tfx.components import Evaluator, SchemaGen, StatisticsGen, Transform
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common import resolver
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2, transform_pb2
from tfx.types import Channel, standard_artifacts

from tfx_pipeline.components.behavior_log_example_gen import BehaviorLogExampleGen
from tfx_pipeline.components.content_encoder import ContentEncoder
from tfx_pipeline.components.content_tuner import ContentTuner
from tfx_pipeline.components.example_validator import ExampleValidator
from tfx_pipeline.components.item_content_gen import ItemContentGen
from tfx_pipeline.components.latest_other_blessed_model import CANDIDATE_KEY, LatestOtherBlessedModel
from tfx_pipeline.components.pushed_baseline import PushedBaseline
from tfx_pipeline.components.pusher import Pusher
from tfx_pipeline.components.ranking_trainer import RankingTrainer
from tfx_pipeline.components.ranking_tuner import RankingTuner
from tfx_pipeline.components.serving_gate import ServingGate
from tfx_pipeline.config.encoders import in_pipeline
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.evaluation.eval_config import make_eval_config
from tfx_pipeline.training.search.settings import SearchSettings
from tfx_pipeline.training.settings import RefitSettings, RetrievalSettings, TrainingSettings

CONTENT_ENCODER, CONTENT_GEN, CONTENT_TUNER = "ContentEncoder", "ItemContentGen", "ContentTuner"
RUN_FN = "tfx_pipeline.training.run_fn.run_fn"
REFIT_FN = "tfx_pipeline.training.refit_fn.refit_fn"
REFIT_TRAINER = "RefitTrainer"
RETRIEVAL_FN = "tfx_pipeline.training.retrieval.retrieval_fn.retrieval_fn"
RETRIEVAL_TRAINER = "RetrievalTrainer"
TUNER_FN = "tfx_pipeline.training.search.tuner_fn.tuner_fn"
PREPROCESSING_FN = "tfx_pipeline.transform.preprocessing.preprocessing_fn"
EXTRACTORS = "tfx_pipeline.evaluation.extractors"


@dataclasses.dataclass(frozen=True)
class Fingerprints:
    """What the cache must know beside the configuration.

    Attributes:
        logs: of the files of log, catalogue and user table.
        content: of the catalogue's files and of those of embeddings, but for what the pipeline encodes.
        encoding: of the catalogue's files and of what encoders in the pipeline read; "" without one.
        code: of the sources behind each step: `ingest`, `encode`, `content`, `fine_tune`, `validate`, `transform`,
            `retrieve`, `train` and `refit` (the class of the configuration's model included), `baseline`, `evaluate`,
            `gate`, `push`; and of `trial`, `finished`, `outcome` and `tune`, for trainings beside that of the Trainer.
    """

    logs: str
    content: str
    code: dict[str, str]
    encoding: str = ""


def pipeline_root(config: PipelineConfig) -> Path:
    """Where the artifacts of all runs lie."""
    return config.output / "artifacts"


def metadata_path(config: PipelineConfig) -> Path:
    """The MLMD store of all runs."""
    return config.output / "metadata.sqlite"


def content_step(steps: Collection[str]) -> str:
    """Which of these steps, ids of those of a run, made the content table that models are given."""
    return CONTENT_TUNER if CONTENT_TUNER in steps else CONTENT_GEN


def create_pipeline(
    config: PipelineConfig,
    fingerprints: Fingerprints,
    *,
    schema_file: Path | None = None,
    pushed_baseline: bool = False,
) -> Pipeline:
    """The whole chain, from logs to a pushed model.

    Args:
        config: the validated configuration.
        fingerprints: of inputs and code, so that a step runs again when either changed.
        schema_file: the curated schema under a path that changes with its content; None: infer one.
        pushed_baseline: whether a candidate is compared with what was pushed last, and not with the last blessed model
            of a metadata store.
    """
    data = _data_steps(config, fingerprints, schema_file)
    training = _training_steps(config, fingerprints, data)
    release = _release_steps(config, fingerprints, data.example_gen, training, pushed_baseline)
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(pipeline_root(config)),
        metadata_connection_config=_connection(metadata_path(config)),
        components=[step for step in (*data, *training, *release) if step is not None],
        enable_cache=True,
        beam_pipeline_args=list(config.beam.args),
    )


def _connection(store: Path) -> metadata_store_pb2.ConnectionConfig:
    """To the store, which is made when it is opened; TFX's own function would make its folder at once."""
    sqlite = metadata_store_pb2.SqliteMetadataSourceConfig
    return metadata_store_pb2.ConnectionConfig(
        sqlite=sqlite(filename_uri=str(store), connection_mode=sqlite.READWRITE_OPENCREATE)
    )


class _DataSteps(NamedTuple):
    """From logs and embeddings to transformed examples and a table of content, in the order in which they run.

    The encoder is there when an encoder is in the pipeline, the tuner when the configuration asks for fine-tuning.
    """

    example_gen: BaseNode
    content_encoder: BaseNode | None
    content_gen: BaseNode
    content_tuner: BaseNode | None
    statistics_gen: BaseNode
    schema_gen: BaseNode
    validator: BaseNode
    transform: BaseNode

    @property
    def content(self) -> BaseNode:
        """Whose content table models are given."""
        return self.content_gen if self.content_tuner is None else self.content_tuner


class _TrainingSteps(NamedTuple):
    """From examples to a model; tuner, retrieval and refit are there where the configuration asks for them."""

    retrieval: BaseNode | None
    tuner: BaseNode | None
    trainer: BaseNode
    refit: BaseNode | None


class _ReleaseSteps(NamedTuple):
    """From a model to a pushed one: what judges it, and what lets it pass."""

    baseline: BaseNode
    evaluator: BaseNode
    gate: BaseNode
    pusher: BaseNode


def _data_steps(config: PipelineConfig, fingerprints: Fingerprints, schema_file: Path | None) -> _DataSteps:
    code = fingerprints.code
    example_gen = BehaviorLogExampleGen(config=config, source_fingerprint=fingerprints.logs, code_digest=code["ingest"])
    content_encoder = None
    if in_pipeline(config.encoders):
        content_encoder = ContentEncoder(
            config=config, source_fingerprint=fingerprints.encoding, code_digest=code["encode"]
        )
    encoded = None if content_encoder is None else content_encoder.outputs["encoded"]
    content_gen = ItemContentGen(
        config=config, source_fingerprint=fingerprints.content, code_digest=code["content"], encoded=encoded
    )
    content_tuner = None
    if config.content.fine_tuning is not None:
        content_tuner = ContentTuner(
            config=config,
            content=content_gen.outputs["content"],
            examples=example_gen.outputs["examples"],
            report=example_gen.outputs["report"],
            source_fingerprint=fingerprints.content,
            code_digest=code["fine_tune"],
            encoded=encoded,
        )
    statistics_gen = StatisticsGen(examples=example_gen.outputs["examples"])
    if schema_file is None:
        # Shapes stay open: a log of single candidates must not fix the number of candidates to one.
        schema_gen = SchemaGen(statistics=statistics_gen.outputs["statistics"], infer_feature_shape=False)
    else:
        schema_gen = ImportSchemaGen(schema_file=str(schema_file))
    validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        curated=schema_file is not None,
    )
    transform = Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn=PREPROCESSING_FN,
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
        custom_config={"features": config.features.of_requests(), "code": code["transform"]},
        disable_statistics=True,
    )
    transform.add_upstream_node(validator)
    return _DataSteps(
        example_gen=example_gen,
        content_encoder=content_encoder,
        content_gen=content_gen,
        content_tuner=content_tuner,
        statistics_gen=statistics_gen,
        schema_gen=schema_gen,
        validator=_of_code(validator, code["validate"]),
        transform=transform,
    )


def _training_steps(config: PipelineConfig, fingerprints: Fingerprints, data: _DataSteps) -> _TrainingSteps:
    code = fingerprints.code
    inputs = {
        "examples": data.transform.outputs["transformed_examples"],
        "transform_graph": data.transform.outputs["transform_graph"],
        "content": data.content.outputs["content"],
        "requests": data.example_gen.outputs["examples"],
    }
    tuner = None
    if config.tuning.run_in_pipeline:
        search_code = "-".join(code[step] for step in ("train", "evaluate", "trial", "tune"))
        tuner = RankingTuner(
            **inputs,
            tuner_fn=TUNER_FN,
            custom_config=SearchSettings.of(config, search_code).to_custom_config(),
        )
    inputs["report"] = data.example_gen.outputs["report"]
    retrieval = None
    if config.stages is not None:
        retrieval = RankingTrainer(
            **inputs,
            run_fn=RETRIEVAL_FN,
            custom_config=RetrievalSettings.of(config, code["retrieve"]).to_custom_config(),
        ).with_id(RETRIEVAL_TRAINER)
    best = tuner.outputs["best_hyperparameters"] if tuner else None
    trainer = RankingTrainer(
        **inputs,
        hyperparameters=best,
        retrieval=retrieval,
        run_fn=RUN_FN,
        custom_config=TrainingSettings.of(config, code["train"]).to_custom_config(),
    )
    refit = None
    if config.training.refit:
        refit = RankingTrainer(
            **inputs,
            hyperparameters=best,
            first=trainer,
            retrieval=retrieval,
            run_fn=REFIT_FN,
            custom_config=RefitSettings.of(config, code["refit"]).to_custom_config(),
        ).with_id(REFIT_TRAINER)
    return _TrainingSteps(retrieval, tuner, trainer, refit)


def _release_steps(
    config: PipelineConfig,
    fingerprints: Fingerprints,
    example_gen: BaseNode,
    training: _TrainingSteps,
    pushed_baseline: bool,
) -> _ReleaseSteps:
    """The trainer's model is evaluated; what is checked for serving and pushed is the refit, where there is one."""
    code = fingerprints.code
    model = training.trainer.outputs["model"]
    served = model if training.refit is None else training.refit.outputs["model"]
    if pushed_baseline:
        baseline = PushedBaseline(candidate=model, versions=str(config.push_dir), code_digest=code["baseline"])
    else:
        baseline = resolver.Resolver(
            strategy_class=LatestOtherBlessedModel,
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
            **{CANDIDATE_KEY: model},
        ).with_id("LatestBlessedModel")
    evaluator = Evaluator(
        examples=example_gen.outputs["examples"],
        model=model,
        baseline_model=baseline.outputs["model"],
        eval_config=make_eval_config(config.evaluation, list(config.objectives)[1:]),
        example_splits=["eval", "test"],
        module_path=EXTRACTORS,
    )
    approximate = None if config.stages is None else config.stages.retrieval.approximate
    gate = ServingGate(
        model=served,
        max_score_difference=config.serving.max_score_difference,
        min_recall=None if approximate is None else approximate.min_recall,
        code_digest=code["gate"],
    )
    pusher = Pusher(
        model=served,
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=gate.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(config.push_dir))
        ),
    )
    return _ReleaseSteps(baseline, _of_code(evaluator, code["evaluate"]), gate, _of_code(pusher, code["push"]))


def _of_code(component: BaseComponent, code_digest: str) -> BaseComponent:
    """The component with the digest of its code: TFX's specs have no parameter for it, but the cache looks at all."""
    component.exec_properties["code_digest"] = code_digest
    return component
