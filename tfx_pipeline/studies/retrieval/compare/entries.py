"""From ranks of positives to the entries of a comparison: means and spreads over seeds, slices, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfx_pipeline.config.schema import Evaluation, Training
from tfx_pipeline.config.stages import Retrieval
from tfx_pipeline.evaluation.retrieval.cascade import Cascade
from tfx_pipeline.evaluation.retrieval.ranks import Judged, ListRanks, answered, metric_names
from tfx_pipeline.studies.compare.differences import Group
from tfx_pipeline.studies.compare.entries import statistic, trainings_of
from tfx_pipeline.studies.compare.report import Statistic
from tfx_pipeline.studies.compare.training_facts import TrainingFacts
from tfx_pipeline.studies.retrieval.compare.report import ComparedList, ComparedSlice, TrainedEntry
from tfx_pipeline.studies.retrieval.entries import positive_slices, resampled_lists


@dataclass(frozen=True, eq=False)
class SeededLists:
    """Lists of one retriever.

    Attributes:
        retriever: label or name.
        ranks: one for each seed; of a baseline one.
        ranker: whose order it is; None: the retriever's own.
        cascade: how it stands behind the retriever.
    """

    retriever: str
    ranks: Sequence[ListRanks]
    ranker: str | None = None
    cascade: Cascade | None = None


def compared_lists(
    judged: Judged,
    lists: Sequence[SeededLists],
    reference: str,
    at_k: Sequence[int],
    counts: Mapping[str, np.ndarray],
    evaluation: Evaluation,
) -> list[ComparedList]:
    """An entry for each retriever, in the order given.

    Args:
        judged: the requests that all were asked.
        lists: of every retriever, before or after one ranker alike.
        reference: the retriever that others are compared with; where it is not among the lists, there is no difference.
        at_k: cut-offs.
        counts: by slice column, int64 [items]: what items are sliced by.
        evaluation: the borders of the slices.
    """
    overall = _group(judged, lists, at_k, np.ones(len(judged.request), bool))
    sliced = {
        column: {bucket: (kept, _group(judged, lists, at_k, kept)) for bucket, kept in buckets.items()}
        for column, buckets in positive_slices(judged, counts, evaluation).items()
    }
    names = [each.retriever for each in lists]
    against = names.index(reference) if reference in names else None
    entries = []
    for place, each in enumerate(lists):
        seeds = len(each.ranks)
        entries.append(
            ComparedList(
                retriever=each.retriever,
                ranker=each.ranker,
                candidates=None if each.cascade is None else each.cascade.candidates,
                retrieval_weight=0.0 if each.cascade is None else each.cascade.weight,
                metrics=_metrics(overall, place, seeds),
                slices={
                    column: {
                        bucket: ComparedSlice(
                            int(answered(judged, kept).sum()), int(kept.sum()), _metrics(group, place, seeds)
                        )
                        for bucket, (kept, group) in buckets.items()
                    }
                    for column, buckets in sliced.items()
                },
                coverage={str(k): statistic([ranks.coverage(k) for ranks in each.ranks]) for k in at_k},
                head_share={str(k): statistic([ranks.head_share(k) for ranks in each.ranks]) for k in at_k},
                seconds=statistic([ranks.seconds for ranks in each.ranks]),
                **_differences(overall, sliced, place, against),
            )
        )
    return entries


def trained_entry(facts: Sequence[TrainingFacts], settings: Training | Retrieval) -> TrainedEntry:
    """How towers or a ranker were trained.

    Args:
        facts: by seed.
        settings: of all these trainings.
    """
    first = facts[0]
    return TrainedEntry(
        label=first.label,
        params=first.params,
        parameters=first.parameters,
        training=trainings_of(facts, settings),
        history=[each.history for each in facts],
    )


def _metrics(group: Group, place: int, seeds: int) -> dict[str, Statistic]:
    """Of the retriever at a place; of a baseline the values of all seeds are one."""
    return {name: statistic(values[place, :seeds].tolist()) for name, values in group.observed.items()}


def _differences(
    overall: Group, sliced: Mapping[str, Mapping[str, tuple[np.ndarray, Group]]], place: int, against: int | None
) -> dict[str, Any]:
    """What an entry says of its difference to the retriever at the place `against`; None: there is none."""
    if against is None or place == against:
        return {"difference": None, "slice_differences": None}
    return {
        "difference": overall.differences(place, against),
        "slice_differences": {
            column: {bucket: group.slice_differences(overall, place, against) for bucket, (_, group) in buckets.items()}
            for column, buckets in sliced.items()
        },
    }


def _group(judged: Judged, lists: Sequence[SeededLists], at_k: Sequence[int], kept: np.ndarray) -> Group:
    """The metrics of all lists over the positives that are kept."""
    means, samples = resampled_lists(judged, [ranks for each in lists for ranks in each.ranks], at_k, kept)
    seeds = max(len(each.ranks) for each in lists)
    first = np.cumsum([0, *(len(each.ranks) for each in lists[:-1])])
    # [retrievers, seeds]: which of the lists; that of a baseline stands beside every seed.
    place = np.stack([start + np.arange(seeds) % len(each.ranks) for start, each in zip(first, lists, strict=True)])
    found = metric_names(at_k)
    return Group(
        {name: means[place, row] for row, name in enumerate(found)},
        {name: samples[place, row] for row, name in enumerate(found)},
    )
