"""The report of `dmf retrieval compare`, as its JSON has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.studies.compare.report import Bootstrap, Difference, SliceDifference, Statistic, Trainings
from tfx_pipeline.studies.compare.training_facts import Parameters

FORMAT = 1


@dataclass(frozen=True)
class ComparedSlice:
    """One bucket of a slice. The lists are those of all items: only the positives are those of the bucket.

    Attributes:
        requests, positives: how many it has.
        metrics: over seeds, by name, such as `recall@10`.
    """

    requests: int
    positives: int
    metrics: Mapping[str, Statistic]


@dataclass(frozen=True)
class ComparedList:
    """What the lists of one retriever are worth, or these lists after a ranker; a baseline has no seed, and one value.

    Attributes:
        retriever: label of towers, or name of a baseline.
        ranker: label of the model of the same seed that ranked what was retrieved; None: the retriever's own order.
        candidates: how many items it was handed; None without one.
        metrics: by name, such as `recall@10`.
        slices: by slice column and bucket.
        coverage: by k, share of the catalogue that is among the first k of any list.
        head_share: by k, share of items of the head in the first k of all lists together.
        seconds: that retrieving took, or ranking.
        difference: to the reference, by metric, after a ranker to the reference after the same one; None of the
            reference itself, and where it was not ranked. A baseline is the same beside every seed.
        slice_differences: the same by slice column, bucket and metric.
        retrieval_weight: of retrieval's score beside the ranker's in the order; 0: it has no part.
    """

    retriever: str
    ranker: str | None
    candidates: int | None
    metrics: Mapping[str, Statistic]
    slices: Mapping[str, Mapping[str, ComparedSlice]]
    coverage: Mapping[str, Statistic]
    head_share: Mapping[str, Statistic]
    seconds: Statistic
    difference: Mapping[str, Difference] | None
    slice_differences: Mapping[str, Mapping[str, Mapping[str, SliceDifference]]] | None
    retrieval_weight: float = 0.0


@dataclass(frozen=True)
class TrainedEntry:
    """How towers, or a ranker, were trained.

    Attributes:
        label: `two_towers`, or `two_towers@text` of towers that are given that modality alone.
        params: all hyper-parameters.
        parameters: trainable numbers.
        training: how the trainings went.
        history: metrics by epoch, by seed.
    """

    label: str
    params: Mapping[str, Any]
    parameters: Parameters
    training: Trainings
    history: Sequence[Sequence[Mapping[str, float | None]]]


@dataclass(frozen=True)
class RetrievalComparison(JsonRecord):
    """A comparison of retrieval.

    Attributes:
        format: version of this shape.
        pipeline: name of the configuration.
        created: ISO 8601 in UTC.
        output: folder of the configuration.
        split: whose requests were answered.
        reference: what the others are compared with.
        seeds: all towers were trained with each of them.
        at_k: cut-offs.
        items, head_items: of the catalogue, and of its head.
        frequency: what items were counted by for slices and head: impressions in train, or positives in train where the
            log is of positives alone and its negatives are drawn.
        requests, positives: of the split, those of the catalogue.
        without_positive: requests that have no positive in the catalogue; they are left out.
        unknown_positives: positives that the catalogue lacks; they are left out.
        bootstrap: how intervals were made.
        stage: `stages.retrieval`, which towers share.
        towers, rankers: how each was trained, in the order asked for.
        lists: of towers, then of baselines, in the order asked for; behind those of towers what rankers made of
            them.
    """

    format: int
    pipeline: str
    created: str
    output: str
    split: str
    reference: str
    seeds: Sequence[int]
    at_k: Sequence[int]
    items: int
    head_items: int
    frequency: Literal["impressions", "positives"]
    requests: int
    positives: int
    without_positive: int
    unknown_positives: int
    bootstrap: Bootstrap
    stage: Mapping[str, Any]
    towers: Sequence[TrainedEntry]
    rankers: Sequence[TrainedEntry]
    lists: Sequence[ComparedList]

    @property
    def over_seeds(self) -> str:
        """What a metric of towers is, in words."""
        if len(self.seeds) == 1:
            return f"towers of one training, with seed {self.seeds[0]}"
        return f"towers: mean ± standard deviation over {len(self.seeds)} seeds"
