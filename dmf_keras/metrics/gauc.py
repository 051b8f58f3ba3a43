"""AUC within each user: what ranking one user's candidates is about.

There is no class of it for `fit`. An AUC compares each positive with each negative of its user, and a user's
impressions lie in many batches: a state that could be summed over batches would have to hold every user's scores, and
the mean of per-batch values is the AUC of other, smaller comparisons. Collect scores, with `predict` on the evaluation
split say, and call `grouped_auc`: it is exact and takes a second per million rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dmf_keras.metrics.auc_by_group import auc_by_group
from dmf_keras.metrics.rows import label_column, value_column


@dataclass(frozen=True)
class GroupedAUC:
    """AUC averaged over the users who have both a positive and a negative.

    Attributes:
        impression_weighted: each user weighs as many as their rows; NaN when no user has both labels.
        equal_weighted: each user weighs 1; NaN when no user has both labels.
        users: how many users there are.
        skipped_users: those with one label class, which have no AUC.
        skipped_impressions: rows of those users.
        impressions: all rows.
    """

    impression_weighted: float
    equal_weighted: float
    users: int
    skipped_users: int
    skipped_impressions: int
    impressions: int

    @property
    def skipped_user_share(self) -> float:
        """Share of users without an AUC; NaN without users."""
        return self.skipped_users / self.users if self.users else float("nan")

    @property
    def skipped_impression_share(self) -> float:
        """Share of rows of users without an AUC; NaN without rows."""
        return self.skipped_impressions / self.impressions if self.impressions else float("nan")


def grouped_auc(users: ArrayLike, labels: ArrayLike, scores: ArrayLike) -> GroupedAUC:
    """Exact GAUC.

    The AUC of a user is the share of (positive, negative) pairs with the positive scored higher; a tie counts one half.
    O(rows log rows), without a loop over users.

    Args:
        users: [rows], ids of any sortable type; a user's rows need not be together.
        labels: [rows], 0 or 1.
        scores: [rows], any monotone score: logits or probabilities. Float64 is compared as given.

    Raises:
        ValueError: different lengths, labels other than 0 and 1, NaN scores.

    References:
        Zhu et al. 2017, arXiv:1703.02091, for GAUC; Mann and Whitney for the rank sum.
    """
    labels = label_column(labels)
    scores = value_column("scores", scores, labels.size)
    ids = np.asarray(users)
    if ids.shape != labels.shape:
        raise ValueError(f"`users` must have shape {labels.shape}, as the labels. Received: {ids.shape}")
    if not labels.size:
        return GroupedAUC(float("nan"), float("nan"), 0, 0, 0, 0)
    group = np.unique(ids, return_inverse=True)[1].reshape(-1)
    by_user = auc_by_group(group, labels.astype(bool), scores)
    rows, both = by_user.size, by_user.has_both_classes
    return GroupedAUC(
        impression_weighted=by_user.size_weighted_mean(),
        equal_weighted=by_user.mean(),
        users=rows.size,
        skipped_users=int((~both).sum()),
        skipped_impressions=int(rows[~both].sum()),
        impressions=labels.size,
    )
