"""From ranks of positives to the report's entries: means, intervals over users, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.evaluation import slices
from tfx_pipeline.evaluation.bootstrap import interval, resampled_means
from tfx_pipeline.evaluation.retrieval.cascade import Cascade
from tfx_pipeline.evaluation.retrieval.evaluate import Evaluated
from tfx_pipeline.evaluation.retrieval.ranks import Judged, ListRanks, answered, metric_names, values
from tfx_pipeline.evaluation.whole_catalogue import CatalogueRanks
from tfx_pipeline.files.json_values import plain
from tfx_pipeline.studies.retrieval.report import Estimate, ListEntry, SliceEntry, WholeRanking

RESAMPLES = 1000
# A slice of positives by how often their item was one in train: cold are those that nobody chose, shown or not.
ITEM_POSITIVES = "item_positives"


def list_entries(
    evaluated: Evaluated, at_k: Sequence[int], counts: Mapping[str, np.ndarray], evaluation: Evaluation
) -> list[ListEntry]:
    """An entry for each retriever, followed by one for each cascade behind it.

    Args:
        evaluated: of `evaluate_retrievers`.
        at_k: cut-offs; a cascade has those that are at most its candidates.
        counts: by slice column, int64 [items]: what items are sliced by.
        evaluation: the borders of the slices.
    """
    judged = evaluated.judged
    named: list[tuple[str, Cascade | None, ListRanks]] = []
    for name, ranks in evaluated.retrieved.items():
        named.append((name, None, ranks))
        named += [(name, cascade, ranked) for cascade, ranked in evaluated.cascades.get(name, {}).items()]
    everything = np.ones(len(judged.request), bool)
    overall = _estimates(evaluated, [ranks for _, _, ranks in named], at_k, everything)
    sliced = {
        column: {
            bucket: (kept, _estimates(evaluated, [ranks for _, _, ranks in named], at_k, kept))
            for bucket, kept in buckets.items()
        }
        for column, buckets in positive_slices(judged, counts, evaluation).items()
    }
    entries = []
    for place, (name, cascade, ranks) in enumerate(named):
        own = [k for k in at_k if cascade is None or k <= cascade.candidates]
        wanted = metric_names(own)
        entries.append(
            ListEntry(
                retriever=name,
                candidates=None if cascade is None else cascade.candidates,
                metrics={metric: overall[place][metric] for metric in wanted},
                slices={
                    column: {
                        bucket: SliceEntry(
                            requests=int(answered(judged, kept).sum()),
                            positives=int(kept.sum()),
                            metrics={metric: found[place][metric] for metric in wanted},
                        )
                        for bucket, (kept, found) in by_bucket.items()
                    }
                    for column, by_bucket in sliced.items()
                },
                coverage={str(k): ranks.coverage(k) for k in own},
                head_share={str(k): ranks.head_share(k) for k in own},
                seconds=ranks.seconds,
                retrieval_weight=0.0 if cascade is None else cascade.weight,
            )
        )
    return entries


def whole_ranking(model: str, ranks: CatalogueRanks, users: np.ndarray, at_k: Sequence[int]) -> WholeRanking:
    """The entry of a ranker over the whole catalogue.

    Args:
        model: its name.
        ranks: of `rank_catalogue`, which asks the same requests in the same order as `evaluate_retrievers`.
        users: [R], of these requests.
        at_k: cut-offs.
    """
    ranking = ranks.ranking
    found = {f"hr@{k}": ranking.hit_rate(k) for k in at_k} | {f"ndcg@{k}": ranking.ndcg(k) for k in at_k}
    rows = np.stack(list(found.values()))
    samples = resampled_means(users, rows, np.ones(len(users), bool), resamples=RESAMPLES)
    return WholeRanking(
        model=model,
        metrics={name: _estimate(float(row.mean()), own) for name, row, own in zip(found, rows, samples, strict=True)},
        seconds=ranks.seconds,
    )


def positive_slices(
    judged: Judged, counts: Mapping[str, np.ndarray], evaluation: Evaluation
) -> dict[str, dict[str, np.ndarray]]:
    """By slice column and bucket, which positives it has, bool [P]; buckets without one are left out.

    Args:
        judged: P positives.
        counts: see `list_entries`.
        evaluation: the borders of the slices.
    """
    columns = {column: slices.item_frequency(own[judged.row], evaluation) for column, own in counts.items()}
    columns[slices.HISTORY_LENGTH] = slices.history_length(judged.history_lengths[judged.request], evaluation)
    return {column: _buckets(buckets) for column, buckets in columns.items()}


def resampled_lists(
    judged: Judged, lists: Sequence[ListRanks], at_k: Sequence[int], kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means over requests, of these and of users drawn with replacement.

    Args:
        judged: requests with P positives.
        lists: all of these requests.
        at_k: cut-offs.
        kept: bool [P], the positives that count.

    Returns:
        float64 [lists, metrics] and [lists, metrics, RESAMPLES], metrics in the order of `metric_names`; NaN where no
        request is averaged. Calls with one `judged` draw the same users.
    """
    there = answered(judged, kept)
    rows = np.concatenate([values(judged, ranks.rank, at_k, kept) for ranks in lists])
    samples = resampled_means(judged.users, rows, there, resamples=RESAMPLES)
    means = rows[:, there].mean(axis=1) if there.any() else np.full(len(rows), np.nan)
    return means.reshape(len(lists), -1), samples.reshape(len(lists), -1, RESAMPLES)


def _estimates(
    evaluated: Evaluated, lists: Sequence[ListRanks], at_k: Sequence[int], kept: np.ndarray
) -> list[dict[str, Estimate]]:
    """Of each list the metrics by name, over the positives that are kept."""
    names = metric_names(at_k)
    return [
        {name: _estimate(float(mean), own) for name, mean, own in zip(names, of_list, drawn, strict=True)}
        for of_list, drawn in zip(*resampled_lists(evaluated.judged, lists, at_k, kept), strict=True)
    ]


def _estimate(mean: float, samples: np.ndarray) -> Estimate:
    low, high = interval(samples) or (None, None)
    return Estimate(plain(mean), low, high)


def _buckets(column: pd.Categorical) -> dict[str, np.ndarray]:
    """Which positives are in each bucket that has some, in its order."""
    codes = np.asarray(column.codes)
    return {str(name): codes == code for code, name in enumerate(column.categories) if (codes == code).any()}
