"""The best items of each request, against a sort of all of them by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.evaluation.retrieval import retriever
from tfx_pipeline.evaluation.retrieval.retriever import NOTHING, ExactRetriever, best, else_popular, histories


def _requests(*lists: list[int]) -> Requests:
    none, count = np.empty(0, np.int64), len(lists)
    return Requests(
        serialized=np.array([b"%d" % number for number in range(count)], object),
        users=np.arange(count).astype(np.uint64),
        times=np.arange(count),
        history=np.array([row for rows in lists for row in rows], np.int64),
        history_lengths=np.array([len(rows) for rows in lists]),
        candidates=none,
        labels=none.astype(bool),
        counts=np.zeros(count, np.int64),
    )


def test_the_best_are_those_of_a_sort_in_which_ties_keep_the_catalogue_s_order():
    rng = np.random.default_rng(0)
    scores = rng.integers(-3, 4, (50, 30)).astype(np.float32)
    left_out = [rng.choice(30, rng.integers(0, 30), replace=False) for _ in range(50)]
    found = best(scores, left_out, 20)
    for rows, values, own, out in zip(*found, scores, left_out, strict=True):
        expected = [row for row in np.argsort(-own, kind="stable") if row not in out][:20]
        assert rows.tolist() == expected + [NOTHING] * (20 - len(expected))
        assert values.tolist() == own[expected].tolist() + [0] * (20 - len(expected))


def test_a_filter_that_leaves_nothing_gives_an_empty_list():
    found = best(np.ones((1, 3)), [np.arange(3)], 2)
    assert found.rows.tolist() == [[NOTHING, NOTHING]]
    assert found.scores.tolist() == [[0, 0]]


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ModelError, match="score is NaN"):
        best(np.array([[1, np.nan]]), [np.empty(0, int)], 1)


def test_requests_are_taken_with_their_lists():
    requests = _requests([5, 6], [], [7], [8, 9, 9])
    taken = requests.take(np.array([3, 1, 0]))
    assert taken.history.tolist() == [8, 9, 9, 5, 6]
    assert taken.history_lengths.tolist() == [3, 0, 2]
    assert taken.users.tolist() == [3, 1, 0]
    assert taken.serialized.tolist() == [b"3", b"1", b"0"]


def test_parts_of_the_requests_are_the_whole(monkeypatch):
    class OfHistory(ExactRetriever):
        def scores(self, requests):
            return histories(requests, self.items).toarray() * np.arange(1, 1 + self.items)

    rng = np.random.default_rng(1)
    requests = _requests(*(rng.integers(-1, 11, size).tolist() for size in rng.integers(0, 6, 23)))
    left_out = [rng.choice(11, 3, replace=False) for _ in range(23)]
    whole = OfHistory(11).retrieve(requests, left_out, 4)
    monkeypatch.setattr(retriever, "_MOST_SCORES", 5 * 11)
    parts = OfHistory(11).retrieve(requests, left_out, 4)
    assert np.array_equal(whole.rows, parts.rows) and np.array_equal(whole.scores, parts.scores)


def test_a_history_counts_its_items_and_leaves_unknown_ones_out():
    assert histories(_requests([0, 2, 2, -1], [-1], []), 3).toarray().tolist() == [[1, 0, 2], [0, 0, 0], [0, 0, 0]]


def test_what_is_not_known_comes_last_by_popularity():
    scores = else_popular(np.array([[-1.0, 0.5, 0, 0]]), np.array([[True, True, False, False]]), np.array([9, 0, 3, 8]))
    assert np.argsort(-scores[0]).tolist() == [1, 0, 3, 2]
    assert scores[0, 2:].max() < -2
