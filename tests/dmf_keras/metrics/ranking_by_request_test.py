"""Ranking metrics of requests against every order that ties leave open, and against scikit-learn without ties."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from dmf_keras.metrics import grouped_auc, ranking_by_request, request_ranking

AT_K = (1, 2, 3, 5, 10)
# Few requests and few distinct scores: ties within and across label classes, requests of one class and of one row.
ROWS = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 2)), min_size=1, max_size=14)


def orders(labels: list[int], scores: list[float]):
    """Labels in each order, best first, that the scores allow: each as likely as any other."""
    runs = [
        list(itertools.permutations([y for y, s in zip(labels, scores, strict=True) if s == score]))
        for score in sorted(set(scores), reverse=True)
    ]
    for parts in itertools.product(*runs):
        yield [label for part in parts for label in part]


def brute_force(labels: list[int], scores: list[float]) -> dict[str, float]:
    """Means over all orders, of each metric by its definition."""
    found: dict[str, list[float]] = {}
    for order in orders(labels, scores):
        ranks = [rank for rank, label in enumerate(order, start=1) if label]
        values = {"mrr": 1 / ranks[0]}
        for k in AT_K:
            values[f"hr@{k}"] = float(ranks[0] <= k)
            best = sum(1 / np.log2(rank + 1) for rank in range(1, min(k, len(ranks)) + 1))
            values[f"ndcg@{k}"] = sum(1 / np.log2(rank + 1) for rank in ranks if rank <= k) / best
        if len(ranks) < len(order):
            below = [sum(1 - label for label in order[rank:]) for rank in ranks]
            values["auc"] = sum(below) / len(ranks) / (len(order) - len(ranks))
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_each_request_is_the_mean_over_all_orders_of_its_ties(rows):
    rows = [row for request in range(3) for row in [one for one in rows if one[0] == request][:7]]
    requests, labels, scores = map(np.array, zip(*rows, strict=True))
    found = ranking_by_request(requests, labels, scores.astype(np.float32))
    for place, request in enumerate(np.unique(requests)):
        mine = requests == request
        assert found.has_positive[place] == labels[mine].any()
        values = {"mrr": found.reciprocal_rank()[place], "auc": found.auc.auc[place]}
        for k in AT_K:
            values |= {f"hr@{k}": found.hit_rate(k)[place], f"ndcg@{k}": found.ndcg(k)[place]}
        expected = brute_force(labels[mine].tolist(), scores[mine].tolist()) if labels[mine].any() else {}
        for name, value in values.items():
            np.testing.assert_allclose(value, expected.get(name, np.nan), rtol=1e-12, atol=1e-15, err_msg=name)


@given(ROWS, st.randoms(use_true_random=False))
def test_neither_order_of_rows_nor_monotone_scores_change_anything(rows, random):
    columns = [map(np.array, zip(*given, strict=True)) for given in (rows, random.sample(rows, len(rows)))]
    (requests, labels, scores), (turned_requests, turned_labels, turned_scores) = columns
    plain = ranking_by_request(requests, labels, scores / 7)
    turned = ranking_by_request(turned_requests, turned_labels, np.exp(turned_scores / 7))
    for one, other in (
        *((plain.hit_rate(k), turned.hit_rate(k)) for k in AT_K),
        *((plain.ndcg(k), turned.ndcg(k)) for k in AT_K),
        (plain.reciprocal_rank(), turned.reciprocal_rank()),
        (plain.auc.auc, turned.auc.auc),
    ):
        np.testing.assert_array_equal(one, other)


def test_without_ties_it_is_what_scikit_learn_says():
    rng = np.random.default_rng(1)
    labels, scores = rng.random((50, 30)) < 0.2, rng.random((50, 30))
    labels[:, 0], labels[:, 1] = True, False
    found = ranking_by_request(np.repeat(np.arange(50), 30), labels.ravel(), scores.ravel())
    for k in (1, 7, 30, 99):
        assert found.ndcg(k).mean() == pytest.approx(ndcg_score(labels, scores, k=k), rel=1e-12)
    aucs = [roc_auc_score(*one) for one in zip(labels, scores, strict=True)]
    np.testing.assert_allclose(found.auc.auc, aucs, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 10, 1000])
def test_equal_scores_have_the_figures_of_chance(size):
    labels = np.zeros(size)
    labels[size // 2] = 1
    found = request_ranking(np.zeros(size), labels, np.full(size, 0.3), at_k=(1, 5, 10))
    for k in (1, 5, 10):
        assert found.hit_rate[k] == pytest.approx(min(k, size) / size, rel=1e-12)
        gains = 1 / np.log2(np.arange(min(k, size)) + 2)
        assert found.ndcg[k] == pytest.approx(gains.sum() / size, rel=1e-12)
    assert found.mrr == pytest.approx((1 / np.arange(1, size + 1)).mean(), rel=1e-12)
    assert np.isnan(found.auc) if size == 1 else found.auc == 0.5


def test_many_positives_and_many_ties_agree_with_orders_drawn_at_random():
    rng = np.random.default_rng(5)
    labels, scores = rng.random(400) < 0.05, rng.integers(0, 3, 400) * (rng.random(400) < 0.02)
    found = request_ranking(np.zeros(400), labels, scores, at_k=(20,))
    first = []
    for _ in range(4000):
        order = np.lexsort((rng.random(400), -scores))
        first.append(int(np.argmax(labels[order])) + 1)
    assert found.mrr == pytest.approx(np.mean(1 / np.array(first)), abs=0.02)
    assert found.hit_rate[20] == pytest.approx(np.mean(np.array(first) <= 20), abs=0.03)


def test_requests_without_an_answer_are_counted_and_left_out():
    found = request_ranking(
        ["a", "a", "b", "c", "c", "c"], [0, 0, 1, 0, 1, 0], [0.9, 0.1, 0.5, 0.9, 0.8, 0.1], at_k=[1]
    )
    assert (found.requests, found.without_positive, found.of_one_class) == (3, 1, 2)
    assert found.hit_rate == {1: 0.5}
    assert found.mrr == pytest.approx((1 + 1 / 2) / 2)
    assert found.auc == 0.5
    nothing = request_ranking([], [], [])
    assert (nothing.requests, nothing.without_positive) == (0, 0)
    assert all(np.isnan(value) for value in (nothing.mrr, nothing.auc, *nothing.hit_rate.values()))


def test_a_perfect_and_a_worst_ranker():
    requests, labels = np.repeat(np.arange(4), 5), np.tile([1, 0, 1, 0, 0], 4)
    best, worst = (request_ranking(requests, labels, sign * labels, at_k=(1, 2, 3)) for sign in (1, -1))
    assert (best.mrr, best.auc, *best.hit_rate.values()) == (1, 1, 1, 1, 1)
    assert list(best.ndcg.values()) == pytest.approx([1, 1, 1], rel=1e-12)
    assert (worst.auc, *worst.hit_rate.values(), *worst.ndcg.values()) == (0, 0, 0, 0, 0, 0, 0)
    # The two positives tie on the ranks 4 and 5, of which the first is 4 in any order.
    assert worst.mrr == pytest.approx(1 / 4)


def test_nan_prediction_spoils_only_its_own_request():
    predictions = np.array([0.1, np.nan, 0.2, 0.8], np.float32)
    found = ranking_by_request(np.array([1, 1, 2, 2]), np.array([True, False, False, True]), predictions)
    for values in (found.hit_rate(1), found.ndcg(1), found.reciprocal_rank(), found.auc.auc):
        np.testing.assert_array_equal(values, [np.nan, 1])


def test_auc_by_request_is_that_of_groups():
    rng = np.random.default_rng(2)
    requests, labels, scores = rng.integers(0, 60, 500), rng.integers(0, 2, 500), rng.integers(0, 9, 500)
    assert request_ranking(requests, labels, scores).auc == grouped_auc(requests, labels, scores).equal_weighted


def test_a_million_rows_take_less_than_three_seconds():
    rng = np.random.default_rng(0)
    requests, labels = rng.integers(0, 50_000, 1_000_000), rng.random(1_000_000) < 0.1
    scores = rng.random(1_000_000).round(2)
    start = time.process_time()
    assert request_ranking(requests, labels, scores).auc == pytest.approx(0.5, abs=0.003)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(("requests", "labels", "scores", "at_k", "message"), [
    ([1, 2], [0, 2], [0.1, 0.2], [1], "0 or 1. Received: 2.0 in row 1"),
    ([1, 2], [0, 1], [0.1, np.nan], [1], "`scores` .*Received: nan in row 1"),
    ([1], [0, 1], [0.1, 0.2], [1], r"`requests` must have shape \(2,\).*Received: \(1,\)"),
    ([1, 2], [0, 1], [0.1, 0.2], [5, 0], r"`at_k` .*Received: \[5, 0\]"),
])  # fmt: skip
def test_refuses(requests, labels, scores, at_k, message):
    with pytest.raises(ValueError, match=message):
        request_ranking(requests, labels, scores, at_k)
