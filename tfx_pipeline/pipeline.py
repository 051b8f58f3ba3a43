"""`create_pipeline`: the configuration as a TFX pipeline. Building it reads no file and writes none; runners do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfx import v1 as tfx
from tfx.dsl.components.common import resolver
from tfx.proto import pusher_pb2, transform_pb2

from tfx_pipeline.components.behavior_log_example_gen import BehaviorLogExampleGen
from tfx_pipeline.components.example_validator import ExampleValidator
from tfx_pipeline.components.item_content_gen import ItemContentGen
from tfx_pipeline.components.latest_other_blessed_model import CANDIDATE_KEY, LatestOtherBlessedModel
from tfx_pipeline.components.pusher import Pusher
from tfx_pipeline.components.ranking_trainer import RankingTrainer
from tfx_pipeline.components.ranking_tuner import RankingTuner
from tfx_pipeline.components.serving_gate import ServingGate
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.evaluation.eval_config import make_eval_config

RUN_FN = "tfx_pipeline.training.run_fn.run_fn"
TUNER_FN = "tfx_pipeline.training.search.tuner_fn.tuner_fn"
PREPROCESSING_FN = "tfx_pipeline.transform.preprocessing.preprocessing_fn"
EXTRACTORS = "tfx_pipeline.evaluation.extractors"


@dataclasses.dataclass(frozen=True)
class Fingerprints:
    """What the cache must know beside the configuration.

    Attributes:
        logs: of the files of log, catalogue and user table.
        content: of the catalogue's and the embeddings' files.
        code: of the sources behind each step: `ingest`, `content`, `validate`, `transform`, `train` (the class of the
            configuration's model included), `evaluate`, `gate`, `push`; and of `trial`, `finished`, `outcome` and
            `tune`, for trainings beside that of the Trainer.
    """

    logs: str
    content: str
    code: dict[str, str]


def pipeline_root(config: PipelineConfig) -> Path:
    """Where the artifacts of all runs lie."""
    return config.output / "artifacts"


def metadata_path(config: PipelineConfig) -> Path:
    """The MLMD store of all runs."""
    return config.output / "metadata.sqlite"


def create_pipeline(
    config: PipelineConfig, fingerprints: Fingerprints, *, schema_file: Path | None = None
) -> tfx.dsl.Pipeline:
    """The whole chain, from logs to a pushed model.

    Args:
        config: the validated configuration.
        fingerprints: of inputs and code, so that a step runs again when either changed.
        schema_file: the curated schema under a path that changes with its content; None: infer one.
    """
    features = config.features.model_dump_json()
    example_gen = BehaviorLogExampleGen(
        config=config, source_fingerprint=fingerprints.logs, code_digest=fingerprints.code["ingest"]
    )
    content_gen = ItemContentGen(
        config=config, source_fingerprint=fingerprints.content, code_digest=fingerprints.code["content"]
    )
    statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    if schema_file is None:
        # Shapes stay open: a log of single candidates must not fix the number of candidates to one.
        schema_gen = tfx.components.SchemaGen(
            statistics=statistics_gen.outputs["statistics"], infer_feature_shape=False
        )
    else:
        schema_gen = tfx.components.ImportSchemaGen(schema_file=str(schema_file))
    validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        curated=schema_file is not None,
    )
    transform = tfx.components.Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn=PREPROCESSING_FN,
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
        custom_config={"features": features, "code": fingerprints.code["transform"]},
        disable_statistics=True,
    )
    transform.add_upstream_node(validator)
    tuner = None
    if config.tuning.run_in_pipeline:
        tuner = RankingTuner(
            examples=transform.outputs["transformed_examples"],
            transform_graph=transform.outputs["transform_graph"],
            content=content_gen.outputs["content"],
            requests=example_gen.outputs["examples"],
            tuner_fn=TUNER_FN,
            custom_config={
                "trials_folder": str(config.output / "tune" / "trials"),
                "max_history": config.history.max_length,
                "features": features,
                "evaluation": config.evaluation.model_dump_json(exclude={"thresholds"}),
                "model": config.model.model_dump_json(),
                "training": config.training.model_dump_json(),
                "tuning": config.tuning.model_dump_json(),
                "code": "-".join(fingerprints.code[step] for step in ("train", "evaluate", "trial", "tune")),
            },
        )
    trainer = RankingTrainer(
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        content=content_gen.outputs["content"],
        requests=example_gen.outputs["examples"],
        report=example_gen.outputs["report"],
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        run_fn=RUN_FN,
        custom_config={
            "name": config.name,
            "state_root": str(config.output / "training_state"),
            "ingestion": _ingestion_with_titles(config).to_json(),
            "features": features,
            "model": config.model.model_dump_json(),
            "training": config.training.model_dump_json(),
            "warmup_candidates": list(config.serving.warmup_candidates),
            "explain": config.serving.explain,
            # The borders of the slices travel with the model; thresholds are the Evaluator's own.
            "evaluation": config.evaluation.model_dump_json(exclude={"thresholds"}),
            "code": fingerprints.code["train"],
        },
    )
    baseline = resolver.Resolver(
        strategy_class=LatestOtherBlessedModel,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
        **{CANDIDATE_KEY: trainer.outputs["model"]},
    ).with_id("LatestBlessedModel")
    evaluator = tfx.components.Evaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        eval_config=make_eval_config(config.evaluation),
        example_splits=["eval", "test"],
        module_path=EXTRACTORS,
    )
    gate = ServingGate(
        model=trainer.outputs["model"],
        max_score_difference=config.serving.max_score_difference,
        code_digest=fingerprints.code["gate"],
    )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=gate.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(config.push_dir))
        ),
    )
    # TFX's own specs have no parameter for it, but the cache looks at every execution property.
    for component, step in ((validator, "validate"), (evaluator, "evaluate"), (pusher, "push")):
        component.exec_properties["code_digest"] = fingerprints.code[step]
    return tfx.dsl.Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(pipeline_root(config)),
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(metadata_path(config))
        ),
        components=[
            example_gen,
            content_gen,
            statistics_gen,
            schema_gen,
            validator,
            transform,
            *([tuner] if tuner else []),
            trainer,
            baseline,
            evaluator,
            gate,
            pusher,
        ],
        enable_cache=True,
        beam_pipeline_args=list(config.beam.args),
    )


def _ingestion_with_titles(config: PipelineConfig) -> IngestionConfig:
    """What travels with the model for `dmf rank`: where the logs lie, and the titles' column."""
    ingestion = IngestionConfig.of(config)
    return ingestion.model_copy(update={"data": ingestion.data.model_copy(update={"items": config.data.items})})
