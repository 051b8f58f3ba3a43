"""From finished trainings to the models' entries in the report: means and spreads, slices, differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dmf_keras.models.registry import reads_codes, uses_content
from tfx_pipeline.config.label import Label
from tfx_pipeline.config.metrics import COMPARED, METRICS, SHOWN, by_request
from tfx_pipeline.config.schema import Evaluation, Training
from tfx_pipeline.config.stages import Retrieval
from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation import slices
from tfx_pipeline.evaluation.bootstrap import CONFIDENCE
from tfx_pipeline.evaluation.candidate_table import CandidateTable
from tfx_pipeline.evaluation.known_users import KnownUsers
from tfx_pipeline.files.json_values import plain
from tfx_pipeline.studies.bench.timing import Timing
from tfx_pipeline.studies.compare.contenders import Plan
from tfx_pipeline.studies.compare.differences import RESAMPLES, Group
from tfx_pipeline.studies.compare.finished import FinishedTraining
from tfx_pipeline.studies.compare.report import (
    Bootstrap,
    CatalogueEntry,
    CatalogueFacts,
    ModelEntry,
    Slice,
    Statistic,
    Trainings,
)
from tfx_pipeline.studies.compare.training_facts import TrainingFacts
from tfx_pipeline.studies.worlds.attainable import AttainableSplit

_SEEDS = (
    "not resampled: an interval is about the users of the {split} split, for these trained models; a difference is the "
    "mean over seeds, paired by seed, and by_seed and std show how it varies from training to training"
)


def model_entries(
    plan: Plan,
    trainings: Mapping[str, Sequence[FinishedTraining]],
    evaluation: Evaluation,
    times: Mapping[str, Timing],
    modalities: Sequence[str] = (),
    best: AttainableSplit | None = None,
    codes_of: str | None = None,
    known_users: KnownUsers | None = None,
) -> list[ModelEntry]:
    """What the test split and the trainings say of each model.

    Args:
        plan: contenders, seeds, reference.
        trainings: by label, one per seed in the plan's order.
        evaluation: the borders of the slices, and `at_k`.
        times: of ranking for one user, by label.
        modalities: of the configuration.
        best: what true probabilities reach on the test split; None of logs that are not synthetic.
        codes_of: the modality that semantic ids are made of, if any.
        known_users: of the train split; None: no slice by them.

    Returns:
        One entry per contender, the best first by what models are compared by before all.

    Raises:
        DataError: trainings that were not scored on the same rows.
    """
    labels = [str(contender.label) for contender in plan.contenders]
    tables = {label: [training.rows for training in trainings[label]] for label in labels}
    first = tables[plan.reference][0]
    _check_same_rows(tables, first)
    buckets = {column: _buckets(categories) for column, categories in first.slices(evaluation, known_users).items()}
    everything = np.ones(len(first.labels), bool)
    names, at_k = (*SHOWN, *by_request(evaluation.at_k)), evaluation.at_k
    names += tuple(f"{objective}/{name}" for objective in first.further for name in SHOWN)
    overall = Group.of(list(tables.values()), everything, at_k)
    by_frequency = {
        bucket: Group.of(list(tables.values()), rows, at_k) for bucket, rows in buckets[slices.ITEM_FREQUENCY].items()
    }
    entries = []
    for model, contender in enumerate(plan.contenders):
        label, reference = labels[model], labels.index(plan.reference)
        facts = [training.facts for training in trainings[label]]
        scored = _metrics(tables[label], everything, names)
        entries.append(
            ModelEntry(
                label=label,
                model=contender.label.model,
                # The same for all seeds.
                params=facts[0].params,
                parameters=facts[0].parameters,
                training=trainings_of(facts, contender.training),
                history=[fact.history for fact in facts],
                metrics=scored,
                slices={
                    column: {
                        bucket: Slice(
                            candidates=int(rows.sum()),
                            users=len(np.unique(first.users[rows])),
                            metrics=_metrics(tables[label], rows, names),
                        )
                        for bucket, rows in by_bucket.items()
                    }
                    for column, by_bucket in buckets.items()
                },
                difference=None if model == reference else overall.differences(model, reference),
                slice_differences=None
                if model == reference
                else {
                    slices.ITEM_FREQUENCY: {
                        bucket: group.slice_differences(overall, model, reference)
                        for bucket, group in by_frequency.items()
                    }
                },
                modalities=_modalities(contender.label, modalities, codes_of),
                rank_ms=times[label],
                attainable_share=None if best is None else _attainable_share(scored, best),
                catalogue=_catalogue(trainings[label], at_k),
            )
        )
    return sorted(entries, key=_worth, reverse=True)


def catalogue_facts(training: FinishedTraining) -> CatalogueFacts:
    """What a training ranked, which is the same for all."""
    ranks = training.catalogue
    assert ranks is not None, "it was asked for"
    return CatalogueFacts(
        items=ranks.items,
        requests=len(ranks.ranked),
        candidates=float(ranks.ranked.mean()),
        without_positive=ranks.without_positive,
        unknown_positives=ranks.unknown_positives,
    )


def bootstrap_facts(split: str = "test") -> Bootstrap:
    """How the intervals were made, of the users of a split."""
    return Bootstrap(RESAMPLES, CONFIDENCE, "user", _SEEDS.format(split=split))


def statistic(values: Sequence[float | None]) -> Statistic:
    """Mean and sample standard deviation of those values that exist, and all of them."""
    found = [value for value in values if value is not None and math.isfinite(value)]
    return Statistic(
        mean=statistics.fmean(found) if found else None,
        std=statistics.stdev(found) if len(found) > 1 else None,
        values=plain(values),
    )


def _worth(entry: ModelEntry) -> float:
    """The mean of the first of `COMPARED`, larger for the better; of a model without an answer the least."""
    mean = entry.metrics[COMPARED[0]].mean
    if mean is None:
        return -math.inf
    return -mean if METRICS[COMPARED[0]].lower_is_better else mean


def _check_same_rows(tables: Mapping[str, Sequence[CandidateTable]], first: CandidateTable) -> None:
    for label, seeds in tables.items():
        for table in seeds:
            if not (np.array_equal(table.labels, first.labels) and np.array_equal(table.users, first.users)):
                raise DataError(
                    f"'{label}' was scored on other candidates than the reference: remove compare/trainings from the"
                    " output folder and compare again"
                )


def _buckets(categories: pd.Categorical) -> dict[str, np.ndarray]:
    """Buckets that have rows, in reading order, each with its rows bool [n]."""
    names = sorted(map(str, categories.categories), key=slices.bucket_order)
    found = {name: np.asarray(categories == name) for name in names}
    return {name: rows for name, rows in found.items() if rows.any()}


def _metrics(tables: Sequence[CandidateTable], rows: np.ndarray, names: Sequence[str]) -> dict[str, Statistic]:
    found = [table.metrics(names, rows) for table in tables]
    return {name: statistic([values[name] for values in found]) for name in names}


def trainings_of(facts: Sequence[TrainingFacts], training: Training | Retrieval) -> Trainings:
    """How the trainings of one model went.

    Args:
        facts: by seed.
        training: gave their batch size and learning rate.
    """
    return Trainings(
        examples_per_second=statistic([fact.requests_per_second for fact in facts]),
        seconds=statistic([fact.seconds for fact in facts]),
        epochs=[len(fact.history) for fact in facts],
        best_epoch=[fact.best_epoch for fact in facts],
        timed=[fact.timed for fact in facts],
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
    )


def _modalities(label: Label, modalities: Sequence[str], codes_of: str | None) -> list[str]:
    """Those that a model looks at, as vectors or as semantic ids."""
    if reads_codes(label.model):
        return [] if codes_of is None else [codes_of]
    return list(label.modalities or modalities) if uses_content(label.model) else []


def _catalogue(trainings: Sequence[FinishedTraining], at_k: Sequence[int]) -> CatalogueEntry | None:
    ranks = [training.catalogue for training in trainings if training.catalogue is not None]
    if not ranks:
        return None
    found = [each.metrics(at_k) for each in ranks]
    return CatalogueEntry(
        metrics={name: statistic([values[name] for values in found]) for name in found[0]},
        candidates_per_second=statistic([each.ranked.sum() / each.seconds for each in ranks]),
    )


def _attainable_share(scored: Mapping[str, Statistic], best: AttainableSplit) -> Statistic:
    return statistic([None if auc is None else best.gain_share(auc) for auc in scored["auc"].values])
