"""Where the next click lies, against a ranking by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tfx_pipeline.training.content_tuning.behaviour import ITEMS, LENGTH, SHOWN, behaviour, vectors
from tfx_pipeline.evaluation import next_click
from tfx_pipeline.evaluation.next_click import NextClicks, fused, history_means, mean_cosines, next_clicks


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(5)
    unit, groups = vectors(rng)
    present = np.arange(ITEMS) % 9 > 0
    rows = behaviour(rng, groups, 30)
    rows.history[::7] = -1
    rows.history[:LENGTH] = -1
    return unit * present[:, None], present, rows


def mean_by_hand(world, number):
    unit, present, rows = world
    own = [item for item in rows.history[LENGTH * number : LENGTH * (number + 1)] if item >= 0 and present[item]]
    return np.mean([unit[item] for item in own], axis=0) if own else None


def test_mean_cosines_are_means_of_cosines(world):
    unit, present, rows = world
    found = mean_cosines(rows, history_means(rows, unit, present), unit, present)
    for place, item in enumerate(rows.candidates):
        mean = mean_by_hand(world, place // SHOWN)
        if mean is None or not present[item]:
            assert np.isnan(found[place])
        else:
            assert found[place] == pytest.approx(unit[item] @ mean, abs=1e-6)


def test_ranks_are_those_by_hand_whatever_the_blocks(world, monkeypatch):
    unit, present, rows = world
    means = history_means(rows, unit, present)
    monkeypatch.setattr(next_click, "_AT_ONCE", 300)
    found = next_clicks(rows, means, unit, present)
    expected = []
    for place in np.flatnonzero(rows.labels):
        mean, click = mean_by_hand(world, place // SHOWN), rows.candidates[place]
        if mean is None:
            continue
        history = set(rows.history[LENGTH * (place // SHOWN) : LENGTH * (place // SHOWN + 1)].tolist())
        ranked = [item for item in range(ITEMS) if present[item] and (item == click or item not in history)]
        above = sum(unit[item] @ mean > unit[click] @ mean + 1e-6 for item in ranked)
        expected.append((click, above) if present[click] else (click, present.sum()))
    assert list(zip(found.items, found.above, strict=True)) == expected
    assert (found.asked, found.ranked) == (len(expected), present.sum())
    hits = [float(above < 10 and present[item]) for item, above in expected]
    np.testing.assert_allclose(found.recall(10), hits)
    np.testing.assert_allclose(found.reciprocal_rank[found.ties == 1], 1 / (1 + found.above[found.ties == 1]))


def test_equal_items_share_their_places_and_what_has_no_content_has_none():
    clicks = NextClicks(np.arange(3), np.array([0, 9, 50]), np.array([4, 2, 0]), 3, 50)
    np.testing.assert_allclose(clicks.recall(1), [0.25, 0, 0])
    np.testing.assert_allclose(clicks.recall(10), [1, 0.5, 0])
    np.testing.assert_allclose(clicks.reciprocal_rank, [(1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, (1 / 10 + 1 / 11) / 2, 0])


def test_identical_vectors_tie(world):
    unit, present, rows = world
    same = np.zeros_like(unit)
    same[:, 0] = present
    found = next_clicks(rows, history_means(rows, same, present), same, present)
    known = present[found.items]
    assert (found.above[known] == 0).all() and (found.ties[known] > ITEMS / 2).all()


def test_of_many_clicks_the_same_are_drawn_whatever_the_vectors(world):
    unit, present, rows = world
    first = next_clicks(rows, history_means(rows, unit, present), unit, present, most=7)
    other = np.roll(unit, 1, axis=1)
    second = next_clicks(rows, history_means(rows, other, present), other, present, most=7)
    assert len(first.items) == 7 and first.asked > 7
    np.testing.assert_array_equal(first.items, second.items)


def test_fused_cosines_are_means_of_cosines(world):
    unit, present, _ = world
    other = np.roll(unit, 3, axis=1)
    both, there = fused([unit, other], [present, np.ones(ITEMS, bool)])
    assert there.all()
    one, two = np.flatnonzero(present)[:2]
    expected = (unit[one] @ unit[two] + other[one] @ other[two]) / 2
    assert both[one] @ both[two] == pytest.approx(expected, abs=1e-6)
    assert (both[0, : unit.shape[1]] == 0).all()
