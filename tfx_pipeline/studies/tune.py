"""`dmf tune`: searches hyper-parameters of models on the eval split, prints the best and writes them down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.config.label import Label
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console, styled
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.files.output_folder import hold_output
from tfx_pipeline.training.search.values import params_as_they_are, training_as_it_is

if TYPE_CHECKING:
    from tfx_pipeline.training.search.report import SearchReport

_EXAMPLE = "tuning: {space: {params.id_dim: {choice: [16, 32, 64]}, training.learning_rate: {log: [0.0003, 0.003]}}}"


def tune(
    config: PipelineConfig,
    *,
    models: Sequence[str] | None = None,
    trials: int | None = None,
    seconds: float | None = None,
) -> dict[str, SearchReport]:
    """Searches for each model in turn, with the same budget, and prints what it found.

    Leaves in `OUTPUT/tune/LABEL`: `tune.json`, the search; `best.yaml`, the configuration with the best values. Of
    several models also `OUTPUT/tune/comparison.yaml`, their best values as the section that `dmf compare` reads.
    Trials that an earlier call finished are not trained again.

    Args:
        config: the validated configuration; `tuning` says what to try.
        models: labels; None: the configuration's model.
        trials: per model, in place of `tuning.trials`.
        seconds: per model; no trial begins later.

    Returns:
        The reports by label; `to_json()` of each is what its `tune.json` has.

    Raises:
        ConfigError: there is no space to search, a label does not exist, or a model has none of the space's keys.
        PipelineError: the data cannot be used, or all trials of a model failed.
    """
    labels = _labels(config, models)
    folder = config.output / "tune"
    names = ", ".join(map(str, labels))
    console().print(f"tuning {names} of pipeline {config.name}, output {config.output}", soft_wrap=True)
    with hold_output(config.output, "tune") as log_file:
        with console().status("loading libraries"):
            from tfx_pipeline.studies.preparation import prepare
            from tfx_pipeline.training.search.model_search import model_search
            from tfx_pipeline.training.search.report import search_report, write_best_config, write_report

        data = prepare(config, code=("outcome",))
        assert data.report is not None, "`prepare` reads the report of ingestion"
        sampled, reports = data.report.sampled_negatives("eval"), {}
        for label in labels:
            own = folder / str(label)
            search = model_search(
                config.tuning,
                label,
                params_as_they_are(config, label),
                training_as_it_is(config, label),
                data,
                trials_folder=folder / "trials",
                directory=own,
                trials=trials or config.tuning.trials,
                seconds=seconds or math.inf,
            )
            search.search()
            report = search_report(search, sampled)
            write_report(report, own)
            write_best_config(config, label, report, own / "best.yaml")
            reports[str(label)] = report
    _print(config, reports, folder)
    console().print(f"log {log_file}", highlight=False, soft_wrap=True)
    return reports


def _labels(config: PipelineConfig, models: Sequence[str] | None) -> list[Label]:
    """What is tuned, checked before anything runs."""
    if not config.tuning.space:
        raise ConfigError(f"the configuration does not say what to try; give for example:\n  {_EXAMPLE}")
    labels = []
    for text in models if models is not None else [config.model.name]:
        try:
            label = Label.parse(text, config.content.names, config.content.codes_of)
            params_as_they_are(config, label)
        except ValueError as error:
            raise ConfigError(f"--models: {error}") from None
        if not config.tuning.space_of(label.model):
            keys = ", ".join(config.tuning.space)
            raise ConfigError(f"--models: {label.model} has none of the keys of tuning.space: {keys}")
        labels.append(label)
    return list(dict.fromkeys(labels))


def _print(config: PipelineConfig, reports: dict[str, SearchReport], folder: Path) -> None:
    from tfx_pipeline.training.search.report import set_arguments, trials_table, write_comparison

    target = console()
    for label, report in reports.items():
        target.print()
        target.print(trials_table(report))
        for doubt in report.doubts:
            target.print(doubt, style="yellow", highlight=False, soft_wrap=True)
        values = report.best_trial.values
        if not values:
            target.print("nothing that was tried is better than the configuration as it is")
        elif label == config.model.name:
            target.print(styled(("best", "bold"), f" {set_arguments(values)}"), highlight=False, soft_wrap=True)
        target.print(f"run it: dmf run --config {folder / label / 'best.yaml'}", highlight=False, soft_wrap=True)
    target.print()
    if len(reports) > 1:
        path = folder / "comparison.yaml"
        write_comparison(config, reports, path)
        target.print(f"as a section for dmf compare: {path}", highlight=False, soft_wrap=True)
