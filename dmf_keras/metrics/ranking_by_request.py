"""How well each request's candidates are ranked, exactly also where scores tie, for many requests at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dmf_keras.metrics.auc_by_group import AUCByGroup, auc_of_runs
from dmf_keras.metrics.tie_runs import TieRuns, tie_runs


@dataclass(frozen=True, eq=False)
class RankingByRequest:
    """Ranking metrics per request, requests in rising order of their key; see `ranking_by_request`.

    Its columns of runs are those of `TieRuns`, of the runs that hold a positive.

    Attributes:
        group, size, above, run_positives: int64 [T]: which request a run is of, its rows, those of a higher score, and
            its positives.
        positives: int64 [R], positives per request.
        has_nan: bool [R], whether a prediction is NaN; then the request's metrics are NaN, too.
        auc: within each request.
    """

    group: np.ndarray
    size: np.ndarray
    above: np.ndarray
    run_positives: np.ndarray
    positives: np.ndarray
    has_nan: np.ndarray
    auc: AUCByGroup

    @property
    def has_positive(self) -> np.ndarray:
        """Whether hit rate, NDCG and reciprocal rank have a meaning, bool [R]."""
        has_positive: np.ndarray = self.positives > 0
        return has_positive

    def hit_rate(self, k: int) -> np.ndarray:
        """Whether, or how probably, a positive is among the first k, float64 [R]; NaN without a positive."""
        return self._of_first([1 - none[np.clip(k - above, 0, len(none) - 1)] for above, none in self._kinds_of_first])

    def reciprocal_rank(self) -> np.ndarray:
        """1 / rank of the first positive, float64 [R]; NaN without a positive."""
        return self._of_first(
            [
                ((none[:-1] - none[1:]) / np.arange(above + 1, above + len(none))).sum()
                for above, none in self._kinds_of_first
            ]
        )

    def ndcg(self, k: int) -> np.ndarray:
        """NDCG of the first k with gains 0 and 1, float64 [R]; NaN without a positive."""
        longest = int(max(self.positives.max(initial=0), (self.above + self.size).max(initial=0)))
        # [m]: what positives on the first m ranks gain.
        gains = np.append(0.0, np.cumsum(1 / np.log2(np.arange(min(k, longest)) + 2)))
        above, below = (np.minimum(end, len(gains) - 1) for end in (self.above, self.above + self.size))
        gained = self.run_positives * (gains[below] - gains[above]) / self.size
        ideal = gains[np.minimum(self.positives, len(gains) - 1)]
        found = np.full(len(ideal), np.nan)
        np.divide(np.bincount(self.group, gained, len(ideal)), ideal, out=found, where=self._answered)
        return found

    @property
    def _answered(self) -> np.ndarray:
        answered: np.ndarray = self.has_positive & ~self.has_nan
        return answered

    @cached_property
    def _first(self) -> np.ndarray:
        """Place of the first run with a positive, of each request that has one: of rising scores the last."""
        return np.flatnonzero(self.group != np.append(self.group[1:], -1))

    @cached_property
    def _kinds(self) -> tuple[np.ndarray, np.ndarray]:
        """Kinds of first runs [kinds, 3] and which each is: three small numbers, which many requests share."""
        numbers = np.stack([column[self._first] for column in (self.above, self.size, self.run_positives)], axis=1)
        kinds, kind = np.unique(numbers, axis=0, return_inverse=True)
        return kinds, kind.reshape(-1)

    @cached_property
    def _kinds_of_first(self) -> list[tuple[int, np.ndarray]]:
        """Of each kind, the rows above, and the probability that the first m of the run have no positive, [m]."""
        kinds = []
        for above, size, positives in self._kinds[0].tolist():
            drawn = np.arange(size - positives + 1)
            kinds.append((above, np.append(1.0, np.cumprod((size - positives - drawn) / (size - drawn)))))
        return kinds

    def _of_first(self, by_kind: list[float]) -> np.ndarray:
        found = np.full(len(self.positives), np.nan)
        found[self.group[self._first]] = np.asarray(by_kind, np.float64)[self._kinds[1]]
        return np.where(self._answered, found, np.nan)


def ranking_by_request(requests: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> RankingByRequest:
    """Hit rate, NDCG and reciprocal rank of each request, and the AUC within it.

    Scores that tie have no order. So each metric is its expected value when candidates of equal score are put into
    random order. With `above` candidates of higher score, a run of `size` equal ones of which `positives` are positive
    has the ranks above + 1 to above + size:

        P(no positive among the first m of the run) = C(size - positives, m) / C(size, m)
        HR@k  = 1 - P(none among the first k - above)                             of the first run with a positive
        RR    = sum over j of P(the first positive is the j-th) / (above + j)     of the first run with a positive
        DCG@k = sum over runs of positives times the mean of 1 / log2(rank + 1) over the run's ranks, 0 beyond k

    and NDCG@k is DCG@k divided by that of all positives first. An AUC counts a tied pair one half, which is the same
    rule. Time O(n log n), without a loop over requests; the result does not depend on the order of the rows.

    Args:
        requests: integers [n], the request of each row.
        labels: bool [n].
        predictions: floats [n], any monotone score.

    Returns:
        One entry per distinct request; none for n = 0.

    References:
        McSherry and Najork 2008, Computing information retrieval performance measures efficiently in the presence of
        tied scores; Järvelin and Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques, for (N)DCG.
    """
    return ranking_of_runs(tie_runs(requests, labels, predictions))


def ranking_of_runs(runs: TieRuns) -> RankingByRequest:
    """As `ranking_by_request`, of runs of equal scores; those without a positive may be left out."""
    held = np.flatnonzero(runs.positives)
    return RankingByRequest(
        group=runs.group[held],
        size=runs.size[held],
        above=runs.above[held],
        run_positives=runs.positives[held],
        positives=runs.group_positives,
        has_nan=runs.has_nan,
        auc=auc_of_runs(runs),
    )


def mean_of(values: np.ndarray, kept: np.ndarray) -> float:
    """Mean of the kept values, each weighing 1; NaN when there is none.

    Args:
        values: float64 [R].
        kept: bool [R].
    """
    return float(values[kept].mean()) if kept.any() else float("nan")
