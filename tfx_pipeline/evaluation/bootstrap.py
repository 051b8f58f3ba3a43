"""How sure a metric, or the difference of two models, is: a bootstrap over users.

A user's candidates are not independent of one another: the user's taste and history are in all of them. So what is
drawn with replacement are users, all rows of a user together (Efron and Tibshirani 1993, An introduction to the
bootstrap, ch. 8: the units of resampling are those that are independent). All models are judged on the same draws, so
that the difference of two of them varies only by what tells them apart.

A draw of users is a weight per user: how often the user was drawn. Log loss, GAUC and the metrics by request are then
quotients of weighted sums over users, one matrix product for many draws and all models. AUC compares rows of different
users: they are ranked once, and per draw it takes two sparse products with the weights and a cumulative sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import sparse

from dmf_keras.metrics import auc_by_group, ranking_by_request
from dmf_keras.metrics.formulas import row_log_losses
from tfx_pipeline.config.metrics import DEFAULT_AT_K, by_request
from tfx_pipeline.evaluation.metrics import values_by_request

# Those of `tfx_pipeline.config.metrics.COMPARED`; each needs a formula of its own here.
RESAMPLED = ("auc", "gauc", "log_loss")
CONFIDENCE = 0.95
# With fewer resamples that have an answer an interval would describe those that happen to have one.
_ANSWERED = 0.95
# So many draws share a pass over the rows; more would not fit a processor's cache.
_DRAWS_AT_ONCE = 32


def resampled_metrics(
    labels: np.ndarray,
    users: np.ndarray,
    probabilities: Sequence[np.ndarray],
    *,
    requests: np.ndarray | None = None,
    at_k: Sequence[int] = DEFAULT_AT_K,
    rows: np.ndarray | slice = slice(None),
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Metrics of models on users drawn with replacement.

    Time O(models (n log n + resamples n)): less than a second per model for 1,000 resamples of 200,000 rows.

    Args:
        labels: bool [n].
        users: integers [n], the user of each row.
        probabilities: of each model, floats [n].
        requests: integers [n], the request of each row; None: without the metrics of requests.
        at_k: of the metrics of the first k candidates of a request.
        rows: bool [n], the rows that are judged; users are drawn from all of them, so that calls with equal `users`,
            `resamples` and `seed` draw alike.
        resamples: number of draws R.
        seed: of the draws.

    Returns:
        `auc`, `gauc` (impression-weighted), `log_loss` (nats) and those of `by_request`, each float64 [models, R]; NaN
        where a draw has no answer, as `auc` of rows of one label class.
    """
    index = np.unique(users, return_inverse=True)[1].reshape(-1)
    count = int(index.max()) + 1 if len(index) else 0
    labels, index = labels[rows].astype(bool), index[rows]
    models = [np.asarray(values)[rows] for values in probabilities]
    pairs = [_Pairs(labels, index, values, count) for values in models]
    # As a sparse matrix: a dense product would wake the threads of a BLAS for every few draws.
    sums = sparse.csr_array(_user_sums(labels, index, models, count))
    quotients = {} if requests is None else _request_sums(requests[rows], labels, index, models, count, at_k)
    result = {name: np.empty((len(models), resamples)) for name in (*RESAMPLED, *quotients)}
    done = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        for weights in draws(count, resamples, seed):
            drawn = slice(done, done + weights.shape[1])
            done += weights.shape[1]
            all_rows, rows_with_both, *numerators = sums @ weights
            auc, loss = np.split(np.array(numerators), 2)
            result["gauc"][:, drawn] = auc / rows_with_both
            result["log_loss"][:, drawn] = loss / all_rows
            for name, (over, by_user) in quotients.items():
                result[name][:, drawn] = (by_user @ weights) / (over @ weights)
            for model, pair in enumerate(pairs):
                result["auc"][model, drawn] = pair.auc(weights)
    return result


def resampled_means(
    users: np.ndarray, values: np.ndarray, answered: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Means over requests, on users drawn with replacement.

    Args:
        users: integers [R], the user of each request; users are drawn from all of them, so that calls with equal
            `users`, `resamples` and `seed` draw alike.
        values: of each metric, floats [M, R].
        answered: bool [R], the requests that are averaged.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        float64 [M, resamples]; NaN where no request of a draw is averaged.
    """
    index = np.unique(users, return_inverse=True)[1].reshape(-1)
    count = int(index.max()) + 1 if len(index) else 0
    over = np.bincount(index[answered], minlength=count).astype(np.float64)
    sums = sparse.csr_array(
        np.stack([np.bincount(index[answered], row[answered], count) for row in values])
        if len(values)
        else np.empty((0, count))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [(sums @ weights) / (over @ weights) for weights in draws(count, resamples, seed)]
    return np.concatenate(parts, axis=1)


def interval(samples: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """The middle part of resampled values (the percentile interval).

    Args:
        samples: [R], NaN for a resample without an answer.
        confidence: its share of them.

    Returns:
        Lower and upper end; None when more than one resample in twenty has no answer.
    """
    answered = samples[np.isfinite(samples)]
    if not len(answered) or len(answered) < _ANSWERED * len(samples):
        return None
    low, high = np.quantile(answered, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def draws(users: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each user was drawn, float64 [users, draws], a few draws at a time, `resamples` in all."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, resamples - start)
        counts = [np.bincount(rng.integers(0, users, users), minlength=users) for _ in range(count)]
        yield np.stack(counts, axis=1).astype(np.float64)


def _user_sums(labels: np.ndarray, index: np.ndarray, models: Sequence[np.ndarray], users: int) -> np.ndarray:
    """What each user adds to the sums of GAUC and log loss.

    Returns:
        [2 + 2 models, users]: rows; rows if they are of both classes, else 0; the same times the user's AUC, by model;
        log loss summed over the user's rows, by model.
    """
    sums = np.zeros((2 + 2 * len(models), users))
    rows, rows_with_both, (auc, loss) = sums[0], sums[1], np.split(sums[2:], 2)
    rows[:] = np.bincount(index, minlength=users)
    for model, values in enumerate(models):
        by_user = auc_by_group(index, labels, values)
        rows_with_both[rows > 0] = size = np.where(by_user.has_both_classes, by_user.size, 0)
        auc[model, rows > 0] = np.where(size > 0, size * by_user.auc, 0)
        loss[model] = np.bincount(index, row_log_losses(labels, values), users)
    return sums


def _request_sums(
    requests: np.ndarray,
    labels: np.ndarray,
    index: np.ndarray,
    models: Sequence[np.ndarray],
    users: int,
    at_k: Sequence[int],
) -> dict[str, tuple[sparse.csr_array, sparse.csr_array]]:
    """What each user adds to the metrics of requests.

    Returns:
        By metric: requests with an answer [1, users], and the metric's sum over them, by model [models, users].
    """
    # The user of each request, in the order of `ranking_by_request`.
    user = index[np.unique(requests, return_index=True)[1]]
    rankings = [ranking_by_request(requests, labels, values) for values in models]
    sums = {}
    for name in by_request(at_k):
        found = [values_by_request(name, ranking) for ranking in rankings]
        answered = found[0][1] if found else np.empty(0, bool)
        columns = [np.bincount(user, np.where(kept, values, 0), users) for values, kept in found]
        over = np.bincount(user[answered], minlength=users)
        sums[name] = (sparse.csr_array(over[np.newaxis].astype(np.float64)), sparse.csr_array(np.stack(columns)))
    return sums


class _Pairs:
    """The (positive, negative) pairs of one model's rows, for the AUC of many draws at once.

    The AUC of weighted rows is the weighted share of pairs in the right order, a tied pair counting one half. With the
    distinct scores v_1 < ... < v_K of the rarer class, and C_k the weight of its rows of score at most v_k, each row of
    the other class adds its weight times (C_p + C_q) / 2, where p of the v are below its score and q are not above.
    Weights are whole numbers: all sums are exact in float64.
    """

    def __init__(self, labels: np.ndarray, index: np.ndarray, values: np.ndarray, users: int):
        self._has_nan = bool(np.isnan(values).any())
        self._positives_are_rarer = 2 * int(labels.sum()) <= len(labels)
        rarer = labels if self._positives_are_rarer else ~labels
        scores, place = np.unique(values[rarer], return_inverse=True)
        shape = (len(scores), users)
        # [K, users]: rows of the rarer class by score and user; halves of rows of the other by p and q, and user.
        self._rarer = sparse.coo_array((np.ones(len(place)), (place.reshape(-1), index[rarer])), shape).tocsr()
        counted = np.concatenate([np.searchsorted(scores, values[~rarer], side) for side in ("left", "right")])
        other = np.tile(index[~rarer], 2)
        above = counted > 0
        halves = np.full(int(above.sum()), 0.5)
        self._other = sparse.coo_array((halves, (counted[above] - 1, other[above])), shape).tocsr()
        self._other_rows = np.bincount(index[~rarer], minlength=users).astype(np.float64)

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """AUC [draws] with a weight per user [users, draws]; NaN where a class has no weight."""
        if self._has_nan or not self._rarer.shape[0]:
            return np.full(weights.shape[1], np.nan)
        upto = np.cumsum(self._rarer @ weights, axis=0)
        share = np.einsum("kd,kd->d", upto, self._other @ weights) / (upto[-1] * (self._other_rows @ weights))
        auc: np.ndarray = 1 - share if self._positives_are_rarer else share
        return auc
