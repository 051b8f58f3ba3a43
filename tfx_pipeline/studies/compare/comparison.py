"""`compare`: a plan, the work inside a quiet process that alone writes to the output folder, the report on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console
from tfx_pipeline.files.output_folder import hold_output
from tfx_pipeline.files.writing import write_json
from tfx_pipeline.studies.compare.contenders import make_plan

if TYPE_CHECKING:
    from tfx_pipeline.studies.compare.report import Report

REPORT, PAGE = "compare.json", "compare.html"


def comparison_folder(config: PipelineConfig) -> Path:
    """Where reports and finished trainings lie."""
    return config.output / "compare"


def compare(
    config: PipelineConfig,
    models: Sequence[str] | None = None,
    seeds: int | None = None,
    reference: str | None = None,
    catalogue: bool = False,
) -> Report:
    """Compares models; what was trained before, by the same code on the same data, is not trained again.

    Training and early stopping see the splits train and eval. The test split is scored once per training, after it.

    Args:
        config: the configuration; its `comparison` has hyper-parameters and what is not given here.
        models: labels, such as `dmf` or `dmf@text`.
        seeds: trainings per model.
        reference: label of the model that the others are compared with.
        catalogue: whether each also ranks the whole catalogue for every request of test; one that was trained before
            and did not is trained again.

    Returns:
        The report; its `to_json()` is what `OUTPUT/compare/compare.json` has, see docs/COMPARE.md.

    Raises:
        ConfigError: a model, modality, hyper-parameter or reference that does not exist.
        PipelineError: the data steps refuse the inputs, or a training diverged; finished trainings are kept.
    """
    plan = make_plan(config, models, seeds, reference, catalogue)
    folder = comparison_folder(config)
    count = len(plan.contenders) * len(plan.seeds)
    console().print(
        f"{len(plan.contenders)} models x {len(plan.seeds)} seeds, {count} trainings; output {folder}",
        highlight=False,
        soft_wrap=True,
    )
    with hold_output(config.output, "compare"):
        with console().status("loading libraries"):
            from tfx_pipeline.studies.compare.experiment import run_experiment
            from tfx_pipeline.studies.compare.page import write_compare_page
        report = run_experiment(config, plan, folder)
        write_json(folder / REPORT, report.to_json())
        write_compare_page(report, folder / PAGE)
    return report
