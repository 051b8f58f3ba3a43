"""The report of `dmf retrieval evaluate`, as its JSON has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tfx_pipeline.files.json_record import JsonRecord

FORMAT = 1


@dataclass(frozen=True)
class Estimate:
    """A mean over requests.

    Attributes:
        mean: None where there is no request.
        low, high: ends of its interval over users; None where there is none.
    """

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SliceEntry:
    """One bucket of a slice. The lists are those of all items: only the positives are those of the bucket.

    Attributes:
        requests, positives: how many it has.
        metrics: by name, such as `recall@10`.
    """

    requests: int
    positives: int
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True)
class ListEntry:
    """What one retriever's lists are worth, or these lists after a ranker.

    Attributes:
        retriever: its name.
        candidates: how many items it handed to the ranker, whose order counts; None: the retriever's own order.
        metrics: by name, such as `recall@10`.
        slices: by slice column and bucket.
        coverage: by k, share of the catalogue that is among the first k of any list.
        head_share: by k, share of items of the head in the first k of all lists together.
        seconds: that retrieving took, or ranking.
        retrieval_weight: of retrieval's score beside the ranker's in that order; 0: it has no part.
    """

    retriever: str
    candidates: int | None
    metrics: Mapping[str, Estimate]
    slices: Mapping[str, Mapping[str, SliceEntry]]
    coverage: Mapping[str, float]
    head_share: Mapping[str, float]
    seconds: float
    retrieval_weight: float = 0.0


@dataclass(frozen=True)
class WholeRanking:
    """The ranker over all items of the catalogue, without retrieval.

    Attributes:
        model: its name.
        metrics: `hr@k` and `ndcg@k`.
        seconds: that it took.
    """

    model: str
    metrics: Mapping[str, Estimate]
    seconds: float


@dataclass(frozen=True)
class RetrievalReport(JsonRecord):
    """An evaluation of retrieval.

    Attributes:
        format: version of this shape.
        pipeline: name of the configuration.
        created: ISO 8601 in UTC.
        split: whose requests were answered.
        at_k: cut-offs.
        items, head_items: of the catalogue, and of its head.
        frequency: what items were counted by for slices and head: impressions in train, or positives in train where the
            log is of positives alone and its negatives are drawn.
        requests, positives: of the split, those of the catalogue.
        without_positive: requests that have no positive in the catalogue; they are left out.
        unknown_positives: positives that the catalogue lacks; they are left out.
        resamples, confidence: of the intervals over users.
        lists: retrievers in the order asked for, each followed by what a ranker made of it.
        ranker: over the whole catalogue; None: the cascade was not asked for.
    """

    format: int
    pipeline: str
    created: str
    split: str
    at_k: Sequence[int]
    items: int
    head_items: int
    frequency: Literal["impressions", "positives"]
    requests: int
    positives: int
    without_positive: int
    unknown_positives: int
    resamples: int
    confidence: float
    lists: Sequence[ListEntry]
    ranker: WholeRanking | None
