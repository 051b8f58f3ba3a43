"""`dmf report`: one page about one run of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.config.metrics import cut_offs
from tfx_pipeline.console import console
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation import slices
from tfx_pipeline.evaluation.demands import read_demands
from tfx_pipeline.evaluation.item_facts import read_item_facts
from tfx_pipeline.evaluation.known_users import read_known_users
from tfx_pipeline.evaluation.results import Validation, read_metrics, read_validation
from tfx_pipeline.files import artifact_files
from tfx_pipeline.pages.kit.page import Page, Prose, Section, write
from tfx_pipeline.pages.kit.wording import since_epoch
from tfx_pipeline.pages.run.baselines_section import baselines_section, count_rankers
from tfx_pipeline.pages.run.content_section import content_section, without_content
from tfx_pipeline.pages.run.data_sections import anomalies_section, arrival_section, splits_section
from tfx_pipeline.pages.run.demands_section import demands_section
from tfx_pipeline.pages.run.evidence_section import evidence_section
from tfx_pipeline.pages.run.finished_run import FinishedRun, read_run
from tfx_pipeline.pages.run.lineage_sections import lineage_section
from tfx_pipeline.pages.run.model_sections import calibration_section, headline, metrics_section, training_section
from tfx_pipeline.pages.run.probe import probe_model
from tfx_pipeline.pages.run.retrieval_evaluation import RetrievalEvaluation
from tfx_pipeline.pages.run.retrieval_section import retrieval_sections, retrieval_training
from tfx_pipeline.pages.run.scores import Scores, score_test_split
from tfx_pipeline.pages.run.serving_section import Latency, serving_section
from tfx_pipeline.pages.run.slice_sections import failures_section, slices_section
from tfx_pipeline.runners.run_warnings import run_warnings
from tfx_pipeline.trained.keras_model import KerasModel
from tfx_pipeline.training.trainer import TrainingResult
from tfx_pipeline.transform.dataset import split_files

FILE = "report.html"
_GATE = ("ServingGate", "blessing", artifact_files.GATE_REPORT)


def write_report(
    output: Path,
    path: Path | None = None,
    latency: Latency | None = None,
    retrieval: RetrievalEvaluation | None = None,
) -> Path:
    """Writes the page of the newest run in an output folder that has a model.

    Args:
        output: `output` of the configuration.
        path: of the page; None: `OUTPUT/report.html`.
        latency: of serving, where it was measured.
        retrieval: what retrievers find, where it was measured.

    Returns:
        The page.

    Raises:
        DataError: no run lies there, or `retrieval` is of another pipeline.
        OSError: the page cannot be written.
    """
    path = output / FILE if path is None else path
    write(report_page(read_run(output), latency, retrieval), path)
    return path


def report_page(run: FinishedRun, latency: Latency | None = None, retrieval: RetrievalEvaluation | None = None) -> Page:
    """The page of a run; what the run does not have is said in place of its section."""
    evaluation = run.folder("Evaluator", "evaluation")
    with run.reading("Evaluator", "evaluation"):
        metrics = read_metrics(evaluation) if evaluation is not None else {}
        validation = read_validation(evaluation) if evaluation is not None else None
        demands = read_demands(evaluation) if evaluation is not None else None
    at_k = cut_offs(metrics["test"].overall if "test" in metrics else ())
    scores, content = _ask_model(run, at_k)
    rankers = count_rankers(run, scores, at_k)
    found = run_warnings(
        run.record(IngestionReport, "BehaviorLogExampleGen", "report", artifact_files.INGESTION_REPORT),
        run.record(TrainingResult, "RankingTrainer", "model_run", artifact_files.TRAINING_RESULT),
        run.section("training").get("epochs"),
        metrics,
        bool(run.section("content").get("modalities", True)),
        rankers.others if rankers is not None else None,
        retrieval=retrieval_training(run),
        retrieval_epochs=run.section("retrieval").get("epochs"),
    )
    name = run.section("model").get("name", "no model")
    return Page(
        title=f"Run of pipeline {run.pipeline}",
        subtitle=f"Model {name}, run {run.run_id}, begun {since_epoch(run.steps[0].started)}, in {run.output}",
        verdicts=[*verdicts(run, validation), *(Prose(warning, "warning") for warning in found)],
        figures=headline(metrics, scores, rankers),
        # What is asked of a ranker first comes first; where its files lie is asked last.
        sections=[
            metrics_section(metrics, scores),
            baselines_section(rankers),
            demands_section(demands, run.document(*_GATE)),
            slices_section(metrics, scores),
            calibration_section(scores, (run.metadata or {}).get("calibration")),
            failures_section(metrics, scores),
            serving_section(latency, run.model_dir),
            training_section(run),
            *retrieval_sections(run, retrieval),
            content,
            evidence_section(run),
            arrival_section(run),
            splits_section(run),
            anomalies_section(run),
            lineage_section(run),
        ],
    )


def verdicts(run: FinishedRun, validation: Validation | None) -> list[Prose]:
    """What became of the run: where it ended, whether its model was pushed, and which demands it failed."""
    found = []
    if run.failed is not None:
        logs = run.output / "logs"
        found.append(Prose(f"The run ended at {run.failed.node} ({run.failed.state}); see {logs}.", "bad"))
    if run.later_failure is not None:
        later = run.later_failure
        when = since_epoch(later.started)
        found.append(
            Prose(f"A later run, of {when}, failed at {later.node}: this page is about the one before.", "warning")
        )
    pushed = run.find("Pusher", "pushed_model")
    if pushed is not None and pushed.properties.get("pushed") == 1:
        found.append(Prose(f"Pushed as version {pushed.properties.get('pushed_version', '?')}.", "good"))
        found += [Prose(run.refit)] if run.refit is not None else []
    elif run.failed is None:
        found.append(Prose("Not pushed.", "bad"))
    failures = list(validation.failures) if validation is not None else []
    gate = run.document(*_GATE)
    failures += gate["problems"] if gate is not None else []
    found += [Prose(failure, "bad") for failure in failures]
    return found


def _ask_model(run: FinishedRun, at_k: Sequence[int]) -> tuple[Scores | None, Section]:
    """Scores of the test split, and the section about content; a run without a model has neither."""
    examples = run.folder("BehaviorLogExampleGen", "examples")
    report = run.record(IngestionReport, "BehaviorLogExampleGen", "report", artifact_files.INGESTION_REPORT)
    name = run.section("model").get("name", "the run")
    model_dir = run.model_dir
    if model_dir is None or examples is None or report is None:
        return None, without_content(name, "there is no model, or no examples to ask it with")
    try:
        if run.metadata is None:
            return None, without_content(name, "the model carries no metadata, so that it cannot be loaded again")
        with run.reading("RankingTrainer", "model"):
            trained = KerasModel(model_dir, run.output)
            facts, known_users = read_item_facts(model_dir), read_known_users(model_dir)
    except ModelError as error:
        return None, without_content(name, str(error))
    files = split_files(examples, "test")
    with run.reading("BehaviorLogExampleGen", "examples"), console().status("scoring the test split"):
        requests = report.splits["test"].requests
        scores = score_test_split(
            trained.model, trained.transform, files, facts, known_users, split_requests=requests, at_k=at_k
        )
    if not trained.model.content:
        return scores, without_content(name, "the model does not look at content: it ranks by ids alone")
    with console().status("explaining scores"):
        probe = probe_model(trained.model, trained.transform, files)
    if probe is None:
        return scores, without_content(name, "the model has no explanation of its scores")
    frequency = slices.item_frequency(facts.look_up(probe.item_ids)[0], facts.evaluation)
    return scores, content_section(probe, frequency)
