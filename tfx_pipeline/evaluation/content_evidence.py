"""Evidence of content: how much the vectors of items say of what users click next, before there is any ranker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.evaluation import slices
from tfx_pipeline.evaluation.metrics import CandidateRows, values
from tfx_pipeline.evaluation.next_click import MOST_CLICKS, fused, history_means, mean_cosines, next_clicks
from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.files.json_record import JsonRecord

OVERALL = "overall"
FUSED = "all modalities"
"""In place of a modality's name: the unit vectors of all of them behind one another, made of length 1 again."""
RECALL_AT = (1, 10, 50)
BINS = 40
"""Of the histograms, over cosines from -1 to 1."""
_EXAMPLES, _NEIGHBOURS = 10, 5


@dataclass(frozen=True)
class SliceEvidence:
    """Of some candidates, and of the clicks among them; a number is None where there is nothing to count.

    Attributes:
        candidates: that can be compared: they have content, and so has an item of their history.
        auc, gauc: of the mean cosine of these candidates to the items of their history.
        clicks: that were looked for among all items.
        recall: by k, the share of them among the first k.
        mrr: mean reciprocal rank of these clicks.
    """

    candidates: int
    auc: float | None
    gauc: float | None
    clicks: int
    recall: Mapping[str, float | None]
    mrr: float | None


@dataclass(frozen=True)
class CosineSpread:
    """Mean cosines of candidates to their history.

    Attributes:
        count: candidates.
        mean, low, median, high: of the cosines; `low` and `high` leave 5 % below and above them.
        histogram: counts in `BINS` equal bins from -1 to 1.
    """

    count: int
    mean: float | None
    low: float | None
    median: float | None
    high: float | None
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class SplitEvidence:
    """Of one split.

    Attributes:
        requests: in it.
        with_history: of them those whose history has content.
        candidates: in it; `slices` says how many can be compared.
        clicks: that could be looked for; `slices` says how many were drawn.
        slices: `overall`, and by the impressions of the item in train (cold, rare, tail, head).
        clicked, not_clicked: the cosines of both.
    """

    requests: int
    with_history: int
    candidates: int
    clicks: int
    slices: Mapping[str, SliceEvidence]
    clicked: CosineSpread
    not_clicked: CosineSpread


@dataclass(frozen=True)
class Neighbour:
    """An item near another.

    Attributes:
        item: its id.
        title: "" where there is none.
        cosine: of the two.
    """

    item: str
    title: str
    cosine: float


@dataclass(frozen=True)
class Neighbourhood:
    """An item and the nearest to it.

    Attributes:
        item, title: as of a neighbour.
        train_impressions: of the item.
        nearest: nearest first.
    """

    item: str
    title: str
    train_impressions: int
    nearest: tuple[Neighbour, ...]


@dataclass(frozen=True)
class ModalityEvidence:
    """Of one modality.

    Attributes:
        width: numbers of a vector.
        items: in the catalogue.
        with_content: of them those with a vector.
        splits: by name.
        neighbours: of ten items, from the most shown in train to one that is not shown.
    """

    width: int
    items: int
    with_content: int
    splits: Mapping[str, SplitEvidence]
    neighbours: tuple[Neighbourhood, ...]


@dataclass(frozen=True)
class ContentEvidence(JsonRecord):
    """Of a content table.

    Attributes:
        version: of the table.
        modalities: by name; of several also `FUSED`.
        sampled: what is to be said beside the figures, where negatives were drawn.
    """

    version: str
    modalities: Mapping[str, ModalityEvidence]
    sampled: str | None = None


def content_evidence(
    table: ItemContentTable,
    splits: Mapping[str, Requests],
    train_impressions: np.ndarray,
    evaluation: Evaluation,
    *,
    sampled: str | None = None,
    most: int = MOST_CLICKS,
    watch: Callable[[str], None] = lambda words: None,
) -> ContentEvidence:
    """Counts.

    Args:
        table: content of the catalogue.
        splits: requests to be judged, by the name of the split.
        train_impressions: int64 [items].
        evaluation: the borders of the slices.
        sampled: what is to be said of drawn negatives.
        most: clicks of a split that are looked for.
        watch: is told what comes next.
    """
    found = {}
    for name, vectors, present in spaces(table):
        of_splits = {}
        for split, rows in splits.items():
            watch(f"{name}, {split}")
            of_splits[split] = _split(rows, vectors, present, train_impressions, evaluation, most)
        neighbours = _neighbourhoods(table, vectors, present, train_impressions)
        found[name] = ModalityEvidence(vectors.shape[1], len(present), int(present.sum()), of_splits, neighbours)
    return ContentEvidence(table.version, found, sampled)


def spaces(table: ItemContentTable) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, vectors [items, width] and presence [items] of each modality; of several also of `FUSED`."""
    for name, matrix in table.modalities.items():
        yield name, matrix.vectors, matrix.present
    if len(table.modalities) > 1:
        matrices = table.modalities.values()
        yield FUSED, *fused([matrix.vectors for matrix in matrices], [matrix.present for matrix in matrices])


def count_impressions(rows: Requests, items: int) -> np.ndarray:
    """int64 [items], how often each was shown."""
    return np.bincount(rows.candidates[rows.candidates >= 0], minlength=items)


def _split(
    rows: Requests,
    vectors: np.ndarray,
    present: np.ndarray,
    train_impressions: np.ndarray,
    evaluation: Evaluation,
    most: int,
) -> SplitEvidence:
    means = history_means(rows, vectors, present)
    cosines = mean_cosines(rows, means, vectors, present)
    clicks = next_clicks(rows, means, vectors, present, most=most)
    request = rows.request_of_candidate
    comparable = ~np.isnan(cosines)
    shown, labels, of = cosines[comparable], rows.labels[comparable], request[comparable]
    users = rows.users[of]
    frequency = slices.item_frequency(train_impressions[rows.candidates[comparable]], evaluation)
    of_clicks = slices.item_frequency(train_impressions[clicks.items], evaluation)
    recall, reciprocal = {k: clicks.recall(k) for k in RECALL_AT}, clicks.reciprocal_rank
    by_slice = {}
    for name in (OVERALL, *frequency.categories):
        mask = np.ones(len(shown), bool) if name == OVERALL else np.asarray(frequency == name)
        own = np.ones(len(of_clicks), bool) if name == OVERALL else np.asarray(of_clicks == name)
        part = CandidateRows(labels[mask], shown[mask], users[mask], of[mask])
        metrics = values(part, ("auc", "gauc")) if mask.any() else {}
        by_slice[name] = SliceEvidence(
            candidates=int(mask.sum()),
            auc=_number(metrics.get("auc")),
            gauc=_number(metrics.get("gauc")),
            clicks=int(own.sum()),
            recall={str(k): float(values_[own].mean()) if own.any() else None for k, values_ in recall.items()},
            mrr=float(reciprocal[own].mean()) if own.any() else None,
        )
    return SplitEvidence(
        requests=len(rows.counts),
        with_history=int((means.known > 0).sum()),
        candidates=len(request),
        clicks=clicks.asked,
        slices=by_slice,
        clicked=_spread(shown[labels]),
        not_clicked=_spread(shown[~labels]),
    )


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _spread(cosines: np.ndarray) -> CosineSpread:
    histogram = np.histogram(np.clip(cosines, -1, 1), BINS, (-1, 1))[0]
    if not len(cosines):
        return CosineSpread(0, None, None, None, None, tuple(histogram.tolist()))
    low, median, high = (float(value) for value in np.quantile(cosines, (0.05, 0.5, 0.95)))
    mean = float(cosines.mean(dtype=np.float64))
    return CosineSpread(len(cosines), mean, low, median, high, tuple(histogram.tolist()))


def _neighbourhoods(
    table: ItemContentTable, vectors: np.ndarray, present: np.ndarray, train_impressions: np.ndarray
) -> tuple[Neighbourhood, ...]:
    """Of ten items with content, at even steps of the order of impressions."""
    order = np.flatnonzero(present)
    order = order[np.argsort(-train_impressions[order], kind="stable")]
    chosen = order[np.unique(np.linspace(0, max(0, len(order) - 1), min(_EXAMPLES, len(order))).astype(int))]
    titles = table.titles if table.titles is not None else [""] * len(table.item_ids)
    cosines = vectors[chosen].astype(np.float32) @ vectors.astype(np.float32).T
    found = []
    for item, own in zip(chosen, cosines, strict=True):
        own = np.where(present, own, -np.inf)
        own[item] = -np.inf
        nearest = np.argsort(-own, kind="stable")[: min(_NEIGHBOURS, len(order) - 1)]
        found.append(
            Neighbourhood(
                table.item_ids[item],
                titles[item],
                int(train_impressions[item]),
                tuple(Neighbour(table.item_ids[other], titles[other], float(own[other])) for other in nearest),
            )
        )
    return tuple(found)
