"""Trains every model with every seed on the same examples, and says what they are worth, how surely, at what cost."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

import numpy as np

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console
from tfx_pipeline.files.json_values import now, plain
from tfx_pipeline.studies.bench.machine import machine
from tfx_pipeline.studies.compare import report
from tfx_pipeline.studies.compare.contenders import Plan
from tfx_pipeline.studies.compare.finished import FinishedTraining, finish, is_finished, read_finished, training_folder
from tfx_pipeline.studies.compare.rank_time import rank_times
from tfx_pipeline.studies.preparation import prepare
from tfx_pipeline.studies.worlds.attainable import AttainableSplit, attainable
from tfx_pipeline.studies.worlds.synthetic import TRUTH
from tfx_pipeline.training.trial import Trial, uses_content
from tfx_pipeline.training.trial_data import TrialData


def run_experiment(config: PipelineConfig, plan: Plan, folder: Path) -> dict[str, Any]:
    """Prepares the data, trains what is not finished, measures, and gathers the report.

    Args:
        config: the validated configuration.
        plan: models, seeds, reference.
        folder: below it lie the finished trainings.

    Returns:
        JSON-able values; docs/COMPARE.md says what they are.

    Raises:
        PipelineError: the data steps refuse the inputs, or a training diverged.
    """
    data = prepare(config, code=("finished",))
    trainings = _train_all(config, plan, data, folder)
    with console().status("metrics, and intervals from resampled users"):
        entries = report.model_entries(plan, trainings, config.evaluation)
    times, asked = rank_times(plan.contenders, config.training, data)
    best = _attainable(config, data)
    modalities = list(config.content.modalities)
    for contender, entry in zip(plan.contenders, entries, strict=True):
        label = contender.label
        entry["modalities"] = list(label.modalities or modalities) if uses_content(label.model) else []
        entry["training"] |= contender.training.model_dump(mode="json", include={"learning_rate", "batch_size"})
        timing = times[str(label)]
        entry["rank_ms"] = {name: getattr(timing, name) for name in ("median", "p10", "p90", "calls")}
        shares = [best.gain_share(auc) for auc in entry["metrics"]["auc"]["values"]] if best else []
        entry["attainable_share"] = report.statistic(shares) if best else None
    requests, test = data.training_data.requests, trainings[plan.reference][0].rows
    return plain(
        {
            "format": report.FORMAT,
            "pipeline": config.name,
            "created": now(),
            "output": str(config.output),
            "reference": plan.reference,
            "seeds": list(plan.seeds),
            "data": {
                "train_requests": requests["train"],
                "eval_requests": requests["eval"],
                "test": {
                    "candidates": len(test.labels),
                    "users": len(np.unique(test.users)),
                    "positives": int(test.labels.sum()),
                },
                **data.report["cuts"],
            },
            "training": config.training.model_dump(mode="json"),
            "bootstrap": report.bootstrap_facts(),
            "models": entries,
            "rank": asked,
            "attainable": {"auc": best.auc, "gauc": best.gauc} if best else None,
            "machine": machine(),
        }
    )


def _train_all(config: PipelineConfig, plan: Plan, data: TrialData, folder: Path) -> dict[str, list[FinishedTraining]]:
    """By label, one training per seed. Seeds are the outer loop: so what slows the machine slows all models alike."""
    places: dict[str, list[Path]] = {str(contender.label): [] for contender in plan.contenders}
    turns = [(seed, contender) for seed in plan.seeds for contender in plan.contenders]
    for number, (seed, contender) in enumerate(turns, start=1):
        label = contender.label
        trial = Trial(label.model, contender.params, seed, contender.training, label.modalities)
        place = training_folder(folder, trial, data)
        name = f"[{number}/{len(turns)}] {label}, seed {seed}"
        if is_finished(place):
            console().print(f"{name}: finished before", markup=False, highlight=False)
        else:
            started = time.monotonic()
            finish(trial, data, place, name)
            seconds = time.monotonic() - started
            console().print(f"{name}: trained and scored in {seconds:.0f} s", markup=False, highlight=False)
        places[str(label)].append(place)
    return {label: [read_finished(place) for place in seeds] for label, seeds in places.items()}


def _attainable(config: PipelineConfig, data: TrialData) -> AttainableSplit | None:
    """What the true probabilities score on test, when the log is synthetic and its truth lies beside it."""
    folder = config.data.interactions.path.parent
    if not (folder / TRUTH).is_file():
        return None
    cuts = {name: dt.datetime.fromisoformat(moment) for name, moment in data.report["cuts"].items()}
    return attainable(folder, cuts["eval_from"], cuts["test_from"])["test"]
