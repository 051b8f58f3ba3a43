"""Trains every model with every seed on the same examples, and says what they are worth, how surely, at what cost."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import numpy as np

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console
from tfx_pipeline.data.ingestion_report import Cuts
from tfx_pipeline.evaluation.baselines import COUNTED_REQUESTS, baseline_metrics, baselines, read_shown_items
from tfx_pipeline.evaluation.items_had import items_had
from tfx_pipeline.files.json_values import now, plain
from tfx_pipeline.studies.bench.machine import machine
from tfx_pipeline.studies.compare.contenders import Plan
from tfx_pipeline.studies.compare.entries import bootstrap_facts, catalogue_facts, model_entries
from tfx_pipeline.studies.compare.finished import FinishedTraining, finish, is_finished, read_finished, training_folder
from tfx_pipeline.studies.compare.rank_time import rank_times
from tfx_pipeline.studies.compare.report import FORMAT, Attainable, Data, Report, SplitSize
from tfx_pipeline.studies.preparation import prepare
from tfx_pipeline.studies.worlds.attainable import AttainableSplit, attainable
from tfx_pipeline.studies.worlds.synthetic import TRUTH
from tfx_pipeline.training.trial import Trial
from tfx_pipeline.training.trial_data import TrialData
from tfx_pipeline.transform.dataset import sampled_files


def run_experiment(config: PipelineConfig, plan: Plan, folder: Path) -> Report:
    """Prepares the data, trains what is not finished, measures, and gathers the report.

    Args:
        config: the validated configuration.
        plan: models, seeds, reference.
        folder: below it lie the finished trainings.

    Raises:
        PipelineError: the data steps refuse the inputs, or a training diverged.
    """
    data = prepare(config, code=("finished",))
    trainings = _train_all(config, plan, data, folder)
    times, asked = rank_times(plan.contenders, config.training, data)
    assert data.report is not None, "`prepare` reads the report of ingestion"
    cuts = data.report.cuts
    best = _attainable(config, cuts)
    with console().status("metrics, and intervals from resampled users"):
        modalities, codes_of = config.content.names, config.content.codes_of
        entries = model_entries(plan, trainings, config.evaluation, times, modalities, best, codes_of, data.known_users)
    with console().status("rankers without a model"):
        train, judged = data.examples["train"], data.examples["test"]
        counted = sampled_files(train, data.training_data.requests["train"], COUNTED_REQUESTS)
        rankers = baselines(read_shown_items(counted), read_shown_items(judged, data.training_data.content))
    requests, test = data.training_data.requests, trainings[plan.reference][0].rows
    return Report(
        format=FORMAT,
        pipeline=config.name,
        created=now(),
        output=str(config.output),
        reference=plan.reference,
        seeds=plan.seeds,
        data=Data(
            train_requests=requests["train"],
            eval_requests=requests["eval"],
            test=SplitSize(len(test.labels), len(np.unique(test.users)), int(test.labels.sum())),
            eval_from=cuts.eval_from,
            test_from=cuts.test_from,
        ),
        training=config.training.model_dump(mode="json"),
        bootstrap=bootstrap_facts(),
        models=entries,
        rank=asked,
        attainable=Attainable(best.auc, best.gauc) if best else None,
        machine=machine(),
        baselines=plain(baseline_metrics(rankers, config.evaluation.at_k)),
        sampled=data.report.sampled_negatives("test"),
        catalogue=catalogue_facts(trainings[plan.reference][0]) if plan.catalogue else None,
    )


def _train_all(config: PipelineConfig, plan: Plan, data: TrialData, folder: Path) -> dict[str, list[FinishedTraining]]:
    """By label, one training per seed. Seeds are the outer loop: so what slows the machine slows all models alike."""
    places: dict[str, list[Path]] = {str(contender.label): [] for contender in plan.contenders}
    had = None
    turns = [(seed, contender) for seed in plan.seeds for contender in plan.contenders]
    for number, (seed, contender) in enumerate(turns, start=1):
        label = contender.label
        trial = Trial(label.model, contender.params, seed, contender.training, label.modalities, label.without)
        place = training_folder(folder, trial, data)
        name = f"[{number}/{len(turns)}] {label}, seed {seed}"
        if is_finished(place, catalogue=plan.catalogue):
            console().print(f"{name}: finished before", highlight=False)
        else:
            if plan.catalogue and had is None:
                with console().status("what users had before their requests"):
                    had = items_had(
                        list(data.examples.values()), data.examples["test"], data.training_data.content.item_ids
                    )
            started = time.monotonic()
            finish(trial, data, place, name, had)
            seconds = time.monotonic() - started
            console().print(f"{name}: trained and scored in {seconds:.0f} s", highlight=False)
        places[str(label)].append(place)
    return {
        label: [read_finished(place, catalogue=plan.catalogue) for place in seeds] for label, seeds in places.items()
    }


def _attainable(config: PipelineConfig, cuts: Cuts) -> AttainableSplit | None:
    """What the true probabilities score on test, when the log is synthetic and its truth lies beside it."""
    folder = config.data.interactions.path.parent
    if not (folder / TRUTH).is_file():
        return None
    eval_from, test_from = (dt.datetime.fromisoformat(moment) for moment in (cuts.eval_from, cuts.test_from))
    return attainable(folder, eval_from, test_from)["test"]
