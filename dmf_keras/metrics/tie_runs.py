"""Rows of equal score within each group: all that a ranking metric needs to know of scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class TieRuns(NamedTuple):
    """Runs of rows of one group and one score; groups in rising order of their key, scores rising within a group.

    Attributes:
        group: int64 [T], which of the groups a run is of.
        size: int64 [T], rows of the run.
        above: int64 [T], rows of the group with a higher score.
        positives: int64 [T], positive rows of the run.
        group_size: int64 [G], rows per group.
        group_positives: int64 [G], positive rows per group.
        has_nan: bool [G], whether a score of the group is NaN, so that its runs mean nothing.
    """

    group: np.ndarray
    size: np.ndarray
    above: np.ndarray
    positives: np.ndarray
    group_size: np.ndarray
    group_positives: np.ndarray
    has_nan: np.ndarray


def tie_runs(groups: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> TieRuns:
    """The runs of all groups; they do not depend on the order of the rows.

    Time O(n log n), memory about 60 bytes a row while it runs.

    Args:
        groups: integers [n], the group of each row.
        labels: bool [n].
        predictions: floats [n].
    """
    rows = len(predictions)
    if not rows:
        none = np.empty(0, np.int64)
        return TieRuns(none, none, none, none, none, none, np.empty(0, bool))
    order = np.lexsort((predictions, groups))
    groups, labels, predictions = groups[order], labels[order].astype(np.int64), predictions[order]
    new_group = np.ones(rows, bool)
    new_group[1:] = groups[1:] != groups[:-1]
    new_run = new_group.copy()
    new_run[1:] |= predictions[1:] != predictions[:-1]
    group_start, run_start = np.flatnonzero(new_group), np.flatnonzero(new_run)
    group = np.cumsum(new_group)[run_start] - 1
    size, group_size = np.diff(run_start, append=rows), np.diff(group_start, append=rows)
    return TieRuns(
        group=group,
        size=size,
        above=(group_start + group_size)[group] - run_start - size,
        positives=np.add.reduceat(labels, run_start),
        group_size=group_size,
        group_positives=np.add.reduceat(labels, group_start),
        has_nan=np.logical_or.reduceat(np.isnan(predictions), group_start),
    )
