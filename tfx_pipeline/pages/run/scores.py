"""The test split as the run's own model scores it, and how sure its metrics are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dmf_keras.metrics.formulas import calibration, entropy_ratio, row_log_losses
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.config.metrics import DEFAULT_AT_K
from tfx_pipeline.evaluation.bootstrap import CONFIDENCE, draws, interval, resampled_metrics
from tfx_pipeline.evaluation.candidate_table import CandidateTable, score_rows
from tfx_pipeline.evaluation.item_facts import ItemFacts
from tfx_pipeline.evaluation.known_users import KnownUsers
from tfx_pipeline.evaluation.metrics import CalibrationRatio, CandidateRows, NormalizedEntropy
from tfx_pipeline.pages.kit.wording import percent
from tfx_pipeline.transform.dataset import sampled_files
from tfx_pipeline.transform.request_transform import RequestTransform

REQUESTS = 20_000
RESAMPLES = 500
# Key of the intervals of the whole split.
OVERALL = ("", "")
Intervals = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Scores:
    """Scored candidates of the test split.

    Attributes:
        labels: bool [rows].
        predictions: float32 [rows], probabilities.
        users: uint64 [rows], a hash of the user's id.
        requests: int32 [rows], the number of the request.
        intervals: by (slice column, bucket), and `OVERALL`: 95 % intervals by metric.
        sample: a sentence about how much of the split this is.
        method: a sentence about the intervals.
    """

    labels: np.ndarray
    predictions: np.ndarray
    users: np.ndarray
    requests: np.ndarray
    intervals: dict[tuple[str, str], Intervals]
    sample: str
    method: str

    @property
    def rows(self) -> CandidateRows:
        """What metrics are computed from."""
        return CandidateRows(self.labels, self.predictions, self.users, self.requests)


def score_test_split(
    model: RankingModel,
    transform: RequestTransform,
    files: Sequence[str],
    facts: ItemFacts,
    known_users: KnownUsers | None,
    *,
    split_requests: int,
    at_k: Sequence[int] = DEFAULT_AT_K,
    most: int = REQUESTS,
) -> Scores:
    """Scores the split, or so many of its files as hold about `most` requests.

    Args:
        model: trained.
        transform: requests to model inputs.
        files: of the test split; which requests a file holds is random.
        facts: of the items, with the borders of the slices.
        known_users: of the train split; None: no slice by them.
        split_requests: requests in the split.
        at_k: of the metrics of the first k candidates of a request.
        most: how many of them to score, to the next whole file.

    Raises:
        DataError: the split has no candidates.
    """
    taken = sampled_files(files, split_requests, most)
    table = score_rows(model, transform, taken, facts)
    users = len(np.unique(table.users))
    part = (
        "all of the test split" if len(taken) == len(files) else f"{len(taken)} of {len(files)} files of the test split"
    )
    return Scores(
        labels=table.labels,
        predictions=table.probabilities,
        users=table.users,
        requests=table.requests,
        intervals=bootstrap_intervals(table, table.slices(facts.evaluation, known_users), at_k=at_k),
        sample=f"Scored by the model of this run: {part}, {len(table.labels):,} candidates of {users:,} users.",
        method=(
            f"Intervals hold {percent(CONFIDENCE, 0)} of {RESAMPLES} resamples of these users, each with all of its "
            "candidates; they say how far a metric might lie off with other users, not with another training."
        ),
    )


def bootstrap_intervals(
    table: CandidateTable,
    by_column: dict[str, pd.Categorical],
    resamples: int = RESAMPLES,
    at_k: Sequence[int] = DEFAULT_AT_K,
) -> dict[tuple[str, str], Intervals]:
    """Intervals of the whole table and of each slice with an answer.

    Args:
        table: scored rows.
        by_column: bucket of each row, by slice column.
        resamples: draws of users.
        at_k: of the metrics of the first k candidates of a request.
    """
    everything = np.ones(len(table.labels), bool)
    masks = {OVERALL: everything}
    for column, buckets in by_column.items():
        masks |= {(column, str(bucket)): np.asarray(buckets == bucket) for bucket in buckets.categories}
    found: dict[tuple[str, str], Intervals] = {}
    for key, mask in masks.items():
        if not mask.any():
            continue
        samples = resampled_metrics(
            table.labels,
            table.users,
            [table.probabilities],
            requests=table.requests,
            at_k=at_k,
            rows=mask,
            resamples=resamples,
        )
        bounds = {metric: interval(values[0]) for metric, values in samples.items()}
        found[key] = {metric: ends for metric, ends in bounds.items() if ends is not None}
    found[OVERALL] |= _sum_intervals(table.rows(), resamples)
    return found


def click_share_intervals(
    labels: np.ndarray, users: np.ndarray, groups: np.ndarray, resamples: int = RESAMPLES
) -> list[tuple[float, float] | None]:
    """Intervals of the share of clicks in each group of rows, from resampled users.

    A user's rows are not independent: intervals that take them for so are too narrow.

    Args:
        labels: bool [rows].
        users: [rows].
        groups: int [rows], from 0.
        resamples: draws of users.

    Returns:
        One per group; None where more than one draw in twenty has no row of the group.
    """
    user = np.unique(users, return_inverse=True)[1].reshape(-1)
    shape = (int(user.max()) + 1, int(groups.max()) + 1)
    cell = np.ravel_multi_index((user, groups), shape)
    clicks, rows = (np.bincount(cell, values, shape[0] * shape[1]).reshape(shape) for values in (labels, None))
    drawn = _drawn_sums(np.concatenate([clicks, rows], axis=1), resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = drawn[:, : shape[1]] / drawn[:, shape[1] :]
    return [interval(values) for values in shares.T]


def _drawn_sums(sums: np.ndarray, resamples: int) -> np.ndarray:
    """Sums [users, columns] over resampled users, [resamples, columns]."""
    return np.concatenate([weights.T @ sums for weights in draws(len(sums), resamples)])


def _sum_intervals(rows: CandidateRows, resamples: int) -> Intervals:
    """Intervals of the metrics that are made of sums over rows: normalised entropy and calibration."""
    if rows.base_rate in (0.0, 1.0):
        return {}
    user = np.unique(rows.users, return_inverse=True)[1].reshape(-1)
    users = int(user.max()) + 1
    columns = (np.ones(len(user)), rows.labels, rows.predictions, row_log_losses(rows.labels, rows.predictions))
    sums = np.stack([np.bincount(user, column, users) for column in columns], axis=1)
    number, clicks, predicted, losses = _drawn_sums(sums, resamples).T
    samples = {
        NormalizedEntropy.metric_name: entropy_ratio(losses / number, clicks / number),
        CalibrationRatio.metric_name: calibration(predicted, clicks),
    }
    bounds = {metric: interval(values) for metric, values in samples.items()}
    return {metric: ends for metric, ends in bounds.items() if ends is not None}
