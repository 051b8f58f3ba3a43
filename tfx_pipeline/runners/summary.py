"""What a run came to, gathered from the artifacts of its steps: for people, and for `--summary-json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tfx.orchestration import metadata
from tfx.utils import path_utils

from serving import contract
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.data.content.table import ContentManifest, Coverage, read_content
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.evaluation.baselines import COUNTED_REQUESTS, baseline_metrics, baselines, read_shown_items
from tfx_pipeline.evaluation.results import MetricValues, SplitMetrics, Validation, read_metrics, read_validation
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.json_values import plain
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.pipeline import (
    CONTENT_ENCODER,
    CONTENT_GEN,
    CONTENT_TUNER,
    REFIT_TRAINER,
    RETRIEVAL_TRAINER,
    content_step,
    metadata_path,
)
from tfx_pipeline.runners.history import RunHistory
from tfx_pipeline.runners.local import Step
from tfx_pipeline.runners.run_warnings import content_share, run_warnings
from tfx_pipeline.training.metadata import Refit, RetrievalFacts
from tfx_pipeline.training.search.report import SearchReport, read_report
from tfx_pipeline.training.search.values import with_values
from tfx_pipeline.training.trainer import TrainingResult
from tfx_pipeline.transform.dataset import sampled_files, split_files


@dataclass(frozen=True)
class StepSummary:
    """What became of one step.

    Attributes:
        node: its id.
        state: `ran` or `cached`.
        reason: why.
        seconds: that it took.
        rows: that it worked on; None where it has none to count.
        peak_memory_mb: as of `Step`.
    """

    node: str
    state: str
    reason: str
    seconds: float
    rows: int | None
    peak_memory_mb: int = 0


@dataclass(frozen=True)
class ContentSummary:
    """Content of one modality: columns of its vectors, and how they match the catalogue."""

    width: int
    coverage: Coverage

    def to_json(self) -> dict[str, Any]:
        """`width` beside the entries of `coverage`."""
        return {"width": self.width, **asdict(self.coverage)}


@dataclass(frozen=True)
class AttainedSplit:
    """What the true probabilities of synthetic logs score on a split.

    Attributes:
        auc, gauc: of the true probabilities.
        gain_share: of their gain over an AUC of 0.5, what the model attained; NaN where there is none.
    """

    auc: float
    gauc: float
    gain_share: float


@dataclass(frozen=True)
class RetrievalSummary:
    """What became of the retrieval stage.

    Attributes:
        training: metrics by epoch, best epoch, requests of the two towers' training.
        exported: what was exported beside the ranker.
    """

    training: TrainingResult
    exported: RetrievalFacts

    def to_json(self) -> dict[str, Any]:
        """`training`, and the entry `retrieval` of the model's metadata as `exported`."""
        return {"training": self.training.to_json(), "exported": self.exported.to_json()}


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        pipeline, model: names.
        output: folder of the configuration.
        steps: in their order.
        ingestion: what became of the log.
        content: by modality.
        tuning: report of the Tuner; None where there is none.
        training: metrics by epoch, best epoch, requests.
        metrics: by split.
        baselines: metrics of rankers without a model on the test split, by ranker and metric.
        validation: whether the model passed its thresholds.
        serving_gate: whether the exported model passed, and the figures of `serving.servable_check`.
        model_path: the version that was pushed; None where none was.
        artifacts: where outputs lie, by name.
        warnings: of `tfx_pipeline.runners.run_warnings`, sentences.
        seconds: that the run took.
        peak_memory_mb: the most that the process and its descendants held at one moment, in MiB; see `PeakMemory`.
        log: file of the libraries' messages.
        attainable: what true probabilities score, by split; None of logs that are not synthetic.
        refit: how the model to push was trained anew on train and eval; None: it was not.
        retrieval: the stage before the ranker; None: there is none.
    """

    pipeline: str
    model: str
    output: str
    steps: Sequence[StepSummary]
    ingestion: IngestionReport
    content: Mapping[str, ContentSummary]
    tuning: SearchReport | None
    training: TrainingResult
    metrics: Mapping[str, SplitMetrics]
    baselines: Mapping[str, MetricValues]
    validation: Validation
    serving_gate: Mapping[str, Any]
    model_path: str | None
    artifacts: Mapping[str, str]
    warnings: Sequence[str]
    seconds: float = 0.0
    peak_memory_mb: int = 0
    log: str = ""
    attainable: Mapping[str, AttainedSplit] | None = None
    refit: Refit | None = None
    retrieval: RetrievalSummary | None = None

    @property
    def pushed(self) -> bool:
        """Whether the model was pushed."""
        return self.model_path is not None

    @property
    def failures(self) -> list[str]:
        """Why the model was not pushed, in sentences."""
        return [*self.validation.failures, *self.serving_gate["problems"]]

    @property
    def content_share(self) -> float | None:
        """Share of the test split's impressions whose item has content; None where none was given or evaluated."""
        return content_share(self.metrics["test"]) if self.content else None

    def to_json(self) -> dict[str, Any]:
        """As `--summary-json` writes it; `attainable`, `refit` and `retrieval` are there where they are known."""
        values = {
            "pipeline": self.pipeline,
            "model": self.model,
            "output": self.output,
            "steps": [asdict(step) for step in self.steps],
            "ingestion": self.ingestion.to_json(),
            "content": {name: facts.to_json() for name, facts in self.content.items()},
            "content_share": self.content_share,
            "tuning": None if self.tuning is None else self.tuning.to_json(),
            "training": self.training.to_json(),
            "metrics": {split: metrics.to_json() for split, metrics in self.metrics.items()},
            "baselines": self.baselines,
            "validation": self.validation._asdict(),
            "serving_gate": self.serving_gate,
            "pushed": self.pushed,
            "model_path": self.model_path,
            "artifacts": self.artifacts,
            "warnings": self.warnings,
            "seconds": self.seconds,
            "peak_memory_mb": self.peak_memory_mb,
            "log": self.log,
        }
        if self.attainable is not None:
            values["attainable"] = {split: asdict(facts) for split, facts in self.attainable.items()}
        if self.refit is not None:
            values["refit"] = self.refit.to_json()
        if self.retrieval is not None:
            values["retrieval"] = self.retrieval.to_json()
        json_able: dict[str, Any] = plain(values)
        return json_able


def build_summary(config: PipelineConfig, steps: Sequence[Step]) -> Summary:
    """Reads the reports of all steps, whether they ran or came from the cache. Of the run itself nothing is known yet.

    Args:
        config: of the run.
        steps: what became of each node.
    """
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(metadata_path(config)))) as store:
        history = RunHistory(store.store, config.name)
        outputs = {step.node: history.outputs(step.execution_id) for step in steps}

    def only(node: str, key: str) -> Any:
        return outputs[node][key][0]

    ingestion = IngestionReport.from_json(
        _read(only("BehaviorLogExampleGen", "report").uri, artifact_files.INGESTION_REPORT)
    )
    content_uri = only(content_step(outputs), "content").uri
    content = ContentManifest.from_json(_read(content_uri, artifact_files.CONTENT_MANIFEST))
    training = TrainingResult.from_json(_read(only("RankingTrainer", "model_run").uri, artifact_files.TRAINING_RESULT))
    tuning = read_report(only("RankingTuner", "tuner_results").uri) if "RankingTuner" in outputs else None
    evaluation_dir = only("Evaluator", "evaluation").uri
    metrics = read_metrics(evaluation_dir)
    limit = config.training if tuning is None else with_values({}, config.training, tuning.best_trial.values)[1]
    gate = _read(only("ServingGate", "blessing").uri, artifact_files.GATE_REPORT)
    pushed = only("Pusher", "pushed_model")
    is_pushed = pushed.get_int_custom_property("pushed") == 1

    requests = {split: counts.requests for split, counts in ingestion.splits.items()}
    rankers = _baselines(
        only("BehaviorLogExampleGen", "examples").uri,
        content_uri,
        requests["train"],
        config.evaluation.at_k,
    )
    candidates = sum(of_split.overall["example_count"] or 0 for of_split in metrics.values())
    refit, refitted = None, {}
    if REFIT_TRAINER in outputs:
        refitted = {"refitted_model": path_utils.serving_model_path(only(REFIT_TRAINER, "model").uri)}
        refit = Refit.from_json(_read(refitted["refitted_model"], contract.METADATA_FILE)["refit"])
    retrieval, retrieved = None, {}
    model = path_utils.serving_model_path(only("RankingTrainer", "model").uri)
    if RETRIEVAL_TRAINER in outputs:
        retrieved = {"retrieval_training": only(RETRIEVAL_TRAINER, "model_run").uri}
        retrieval = RetrievalSummary(
            TrainingResult.from_json(_read(retrieved["retrieval_training"], artifact_files.TRAINING_RESULT)),
            RetrievalFacts.from_json(_read(model, contract.METADATA_FILE)["retrieval"]),
        )
    rows = {
        "BehaviorLogExampleGen": ingestion.rows_read,
        CONTENT_ENCODER: content.items,
        CONTENT_GEN: content.items,
        CONTENT_TUNER: content.items,
        "StatisticsGen": sum(requests.values()),
        "Transform": requests["train"] + requests["eval"],
        **({} if retrieval is None else {RETRIEVAL_TRAINER: retrieval.training.train_requests}),
        "RankingTuner": training.train_requests,
        "RankingTrainer": training.train_requests,
        REFIT_TRAINER: training.train_requests + training.eval_requests,
        "Evaluator": round(candidates),
        "ServingGate": gate["golden_requests"] + gate["warmup_requests"],
    }
    return Summary(
        pipeline=config.name,
        model=config.model.name,
        output=str(config.output),
        steps=[
            StepSummary(
                step.node, step.state, step.reason, round(step.seconds, 2), rows.get(step.node), step.peak_memory_mb
            )
            for step in steps
        ],
        ingestion=ingestion,
        content={name: ContentSummary(facts.width, facts.coverage) for name, facts in content.modalities.items()},
        tuning=tuning,
        training=training,
        metrics=metrics,
        baselines=rankers,
        validation=read_validation(evaluation_dir),
        serving_gate=gate,
        model_path=pushed.get_string_custom_property("pushed_destination") if is_pushed else None,
        artifacts={
            "examples": only("BehaviorLogExampleGen", "examples").uri,
            "quarantine": join(only("BehaviorLogExampleGen", "report").uri, artifact_files.QUARANTINE),
            "ingestion_report": only("BehaviorLogExampleGen", "report").uri,
            "transformed_examples": only("Transform", "transformed_examples").uri,
            "transform_graph": only("Transform", "transform_graph").uri,
            "content": content_uri,
            "model": model,
            "training": only("RankingTrainer", "model_run").uri,
            "evaluation": evaluation_dir,
            **refitted,
            **retrieved,
        },
        warnings=run_warnings(
            ingestion,
            training,
            limit.epochs,
            metrics,
            bool(content.modalities),
            rankers,
            retrieval=None if retrieval is None else retrieval.training,
            retrieval_epochs=None if config.stages is None else config.stages.retrieval.epochs,
        ),
        refit=refit,
        retrieval=retrieval,
    )


def _baselines(examples: str, content: str, train_requests: int, at_k: Sequence[int]) -> dict[str, MetricValues]:
    counted = sampled_files(split_files(examples, "train"), train_requests, COUNTED_REQUESTS)
    rankers = baselines(
        read_shown_items(counted), read_shown_items(split_files(examples, "test"), read_content(content))
    )
    found: dict[str, MetricValues] = plain(baseline_metrics(rankers, at_k))
    return found


def _read(uri: str, file: str) -> Mapping[str, Any]:
    values: Mapping[str, Any] = read_json(join(uri, file))
    return values
