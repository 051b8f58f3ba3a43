"""Metrics of lists, against a loop over requests in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tfx_pipeline.evaluation.bootstrap import resampled_means
from tfx_pipeline.evaluation.retrieval.ranks import Judged, ListTally, answered, metric_names, values

AT_K = [1, 3, 5]


def _by_hand(found: list[int], wanted: set[int], k: int) -> dict[str, float]:
    ranks = [place + 1 for place, row in enumerate(found[:k]) if row in wanted]
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(wanted), k) + 1))
    return {
        f"hr@{k}": float(bool(ranks)),
        f"recall@{k}": len(ranks) / len(wanted),
        f"ndcg@{k}": sum(1 / math.log2(rank + 1) for rank in ranks) / ideal,
        f"mrr@{k}": 1 / ranks[0] if ranks else 0.0,
    }


@pytest.fixture
def split():
    """Lists of 5 of 12 items, some shorter; one to seven positives."""
    rng = np.random.default_rng(7)
    positives = [np.sort(rng.choice(12, rng.integers(1, 8), replace=False)) for _ in range(60)]
    rows = np.stack([rng.permutation(12)[:5] for _ in range(60)]).astype(np.int32)
    rows[rng.random(60) < 0.2, 3:] = -1
    judged = Judged(
        users=rng.integers(0, 9, 60).astype(np.uint64),
        history_lengths=rng.integers(0, 5, 60),
        request=np.repeat(np.arange(60), [len(own) for own in positives]),
        row=np.concatenate(positives).astype(np.int32),
        items=12,
        without_positive=0,
        unknown_positives=0,
    )
    return rows, positives, judged


def _tally(rows, positives, is_head):
    tally = ListTally(is_head, 5)
    for first in range(0, 60, 25):
        tally.add(rows[first : first + 25], positives[first : first + 25])
    return tally.ranks()


def test_metrics_of_several_positives(split):
    rows, positives, judged = split
    found = values(judged, _tally(rows, positives, np.zeros(12, bool)).rank, AT_K)
    for place, (own, wanted) in enumerate(zip(rows.tolist(), positives, strict=True)):
        expected: dict[str, float] = {}
        for k in AT_K:
            expected |= _by_hand(own, set(wanted.tolist()), k)
        assert dict(zip(metric_names(AT_K), found[:, place], strict=True)) == pytest.approx(expected, abs=1e-12)


def test_of_a_slice_the_other_positives_are_none(split):
    rows, positives, judged = split
    ranks = _tally(rows, positives, np.zeros(12, bool))
    kept = judged.row < 4
    found, there = values(judged, ranks.rank, AT_K, kept), answered(judged, kept)
    for place, (own, wanted) in enumerate(zip(rows.tolist(), positives, strict=True)):
        counted = {row for row in wanted.tolist() if row < 4}
        assert there[place] == bool(counted)
        if not counted:
            assert np.isnan(found[:, place]).all()
            continue
        expected: dict[str, float] = {}
        for k in AT_K:
            expected |= _by_hand(own, counted, k)
        assert dict(zip(metric_names(AT_K), found[:, place], strict=True)) == pytest.approx(expected, abs=1e-12)
    assert 0 < there.sum() < 60


def test_coverage_and_the_head(split):
    rows, positives, _ = split
    is_head = np.arange(12) % 3 == 0
    ranks = _tally(rows, positives, is_head)
    for k in (1, 2, 5):
        listed = [row for own in rows[:, :k].tolist() for row in own if row >= 0]
        assert ranks.coverage(k) == pytest.approx(len(set(listed)) / 12)
        assert ranks.head_share(k) == pytest.approx(np.mean([row % 3 == 0 for row in listed]))
    few = _tally(rows[:1].repeat(60, axis=0), positives, is_head)
    assert few.coverage(1) == pytest.approx(1 / 12)


def test_resampled_means_are_means_of_the_requests_of_drawn_users():
    rng = np.random.default_rng(3)
    users = rng.integers(0, 6, 40)
    kept = rng.random(40) < 0.7
    rows = np.where(kept, rng.random((2, 40)), np.nan)
    found = resampled_means(users, rows, kept, resamples=40, seed=5)
    draw = np.random.default_rng(5)
    for column in range(40):
        drawn = draw.integers(0, 6, 6)
        of = np.concatenate([np.flatnonzero((users == user) & kept) for user in drawn])
        np.testing.assert_allclose(found[:, column], rows[:, of].mean(axis=1))
