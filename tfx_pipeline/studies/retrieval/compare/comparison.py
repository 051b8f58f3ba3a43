"""`compare_retrieval`: a plan, the work inside a quiet process, report and page on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console
from tfx_pipeline.files.output_folder import hold_output
from tfx_pipeline.files.writing import write_json
from tfx_pipeline.studies.retrieval.compare.plan import make_plan

if TYPE_CHECKING:
    from tfx_pipeline.studies.retrieval.compare.report import RetrievalComparison

REPORT, PAGE = "compare.json", "compare.html"


def retrieval_folder(config: PipelineConfig) -> Path:
    """Where report, page and finished trainings lie."""
    return config.output / "retrieval"


def compare_retrieval(
    config: PipelineConfig,
    towers: Sequence[str] | None = None,
    seeds: int | None = None,
    reference: str | None = None,
    retrievers: Sequence[str] | None = None,
    at_k: Sequence[int] | None = None,
    split: str = "test",
    rankers: Sequence[str] = (),
    weights: Sequence[float] | None = None,
) -> RetrievalComparison:
    """Compares towers and baselines; what was trained before, by the same code on the same data, is not trained again.

    Training and early stopping see the splits train and eval.

    Args:
        config: the configuration; its `stages.retrieval`, or the defaults, say how towers are trained.
        towers: labels, such as `two_towers`, `two_towers@text` or `two_towers~content`.
        seeds: trainings of each.
        reference: label or baseline that the others are compared with; None: the first label.
        retrievers: baselines.
        at_k: cut-offs.
        split: `eval` or `test`, whose requests are answered.
        rankers: labels of models of the registry that are trained with the same seeds, and rank what towers of their
            seed retrieved.
        weights: of retrieval's score in the order of what these ranked, each beside the order of the ranker alone;
            None: that of `stages.ranking`.

    Returns:
        The report; its `to_json()` is what `OUTPUT/retrieval/compare.json` has, see docs/EVALUATION.md.

    Raises:
        ConfigError: a label, modality, retriever, reference or cut-off that there is not.
        PipelineError: the data steps refuse the inputs, or a training diverged; finished trainings are kept.
    """
    plan = make_plan(config, towers, seeds, reference, retrievers, at_k, split, rankers, weights)
    folder = retrieval_folder(config)
    models = len(plan.towers) + len(plan.rankers)
    with_rankers = f", {len(plan.rankers)} rankers" if plan.rankers else ""
    console().print(
        f"{len(plan.towers)} towers{with_rankers} x {len(plan.seeds)} seeds, {models * len(plan.seeds)} trainings; "
        f"output {folder}",
        highlight=False,
        soft_wrap=True,
    )
    with hold_output(config.output, "retrieval"):
        with console().status("loading libraries"):
            from tfx_pipeline.studies.retrieval.compare.experiment import run_comparison
            from tfx_pipeline.studies.retrieval.compare.page import write_retrieval_page
        report = run_comparison(config, plan, folder)
        write_json(folder / REPORT, report.to_json())
        write_retrieval_page(report, folder / PAGE)
    return report
