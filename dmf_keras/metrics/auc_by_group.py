"""AUC by exact ranks, for many groups at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dmf_keras.metrics.tie_runs import TieRuns, tie_runs


class AUCByGroup(NamedTuple):
    """AUC per group, groups in rising order of their key.

    Attributes:
        auc: float64 [G]; NaN where a group has one label class only, or holds a NaN prediction.
        size: int64 [G], rows per group.
        has_both_classes: bool [G]; false where AUC has no meaning.
    """

    auc: np.ndarray
    size: np.ndarray
    has_both_classes: np.ndarray

    def size_weighted_mean(self) -> float:
        """Mean AUC of the groups of both classes, each weighing its rows; NaN when there is none."""
        kept = self.has_both_classes
        return float(np.average(self.auc[kept], weights=self.size[kept])) if kept.any() else float("nan")

    def mean(self) -> float:
        """Mean AUC of the groups of both classes, each weighing 1; NaN when there is none."""
        kept = self.has_both_classes
        return float(self.auc[kept].mean()) if kept.any() else float("nan")


def auc_by_group(groups: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> AUCByGroup:
    """AUC of each group: the share of (positive, negative) pairs in the right order; a tied pair counts one half.

    This is the Mann-Whitney statistic with mid-ranks, in integers up to the last division, so the result does not
    depend on the order of the rows. Time O(n log n), memory about 60 bytes a row while it runs.

    Args:
        groups: integers [n], the group of each row.
        labels: bool [n].
        predictions: floats [n], any monotone score.

    Returns:
        One entry per distinct group; empty arrays for n = 0.
    """
    return auc_of_runs(tie_runs(groups, labels, predictions))


def auc_of_runs(runs: TieRuns) -> AUCByGroup:
    """AUC of each group from its runs of ties, as `auc_by_group`."""
    groups, positives = len(runs.group_size), runs.group_positives
    # The mid-rank of a run, counted from the lowest score and doubled: an integer.
    twice_rank = 2 * (runs.group_size[runs.group] - runs.above) - runs.size + 1
    twice_rank_sum = np.zeros(groups, np.int64)
    np.add.at(twice_rank_sum, runs.group, twice_rank * runs.positives)
    pairs = positives * (runs.group_size - positives)
    auc = np.full(groups, np.nan)
    np.divide(twice_rank_sum - positives * (positives + 1), 2 * pairs, out=auc, where=pairs > 0)
    auc[runs.has_nan] = np.nan
    return AUCByGroup(auc, runs.group_size, pairs > 0)
