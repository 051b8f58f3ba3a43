"""The order of a ranking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.client import RankedItem, Ranking
from serving.client.requests import pages

SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), max_size=30)


def ranking_of(scores):
    return Ranking([f"i{n}" for n in range(len(scores))], np.array(scores, np.float32), 3)


@given(SCORES)
def test_descending_and_ties_in_request_order(scores):
    ranking = ranking_of(scores)
    # The definition, in Python's own stable sort.
    expected = sorted(range(len(scores)), key=lambda position: -scores[position])
    assert ranking.positions.tolist() == expected
    assert ranking.items == tuple(f"i{position}" for position in expected)
    assert ranking.scores.tolist() == [scores[position] for position in expected]
    assert ranking.scores_in_request_order.tolist() == scores


def test_a_ranking_is_a_sequence_of_items():
    ranking = ranking_of([0.25, 0.75, 0.5])
    assert list(ranking) == [("i1", 0.75), ("i2", 0.5), ("i0", 0.25)]
    assert ranking[0] == RankedItem("i1", 0.75)
    assert ranking[-1].item == "i0"
    assert ranking[1:] == [("i2", 0.5), ("i0", 0.25)]
    assert ranking.top(2) == list(ranking)[:2]
    assert (ranking.top(0), len(ranking.top(99)), len(ranking)) == ([], 3, 3)
    assert repr(ranking) == "<Ranking of 3 items by version 3, best 'i1' 0.7500>"
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        ranking.top(-1)
    with pytest.raises(IndexError):
        ranking[3]


def test_an_empty_ranking():
    ranking = ranking_of([])
    assert (list(ranking), ranking.top(5), len(ranking)) == ([], [], 0)
    assert repr(ranking) == "<Ranking of 0 items by version 3>"


def test_arrays_cannot_be_changed():
    ranking = ranking_of([0.25, 0.75])
    for array in (ranking.scores, ranking.positions, ranking.scores_in_request_order):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@given(st.integers(1, 500), st.integers(1, 60))
def test_pages_cover_everything_once_and_are_even(count, largest):
    covered = pages(count, largest)
    assert [position for page in covered for position in range(count)[page]] == list(range(count))
    lengths = [page.stop - page.start for page in covered]
    assert max(lengths) <= largest
    assert max(lengths) - min(lengths) <= 1
    assert len(covered) == -(-count // largest)
