from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.tfx_pipeline.training.content_tuning.behaviour import ITEMS, LENGTH, SHOWN, behaviour, vectors
from tfx_pipeline.training.content_tuning.positives import Positives


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return behaviour(rng, vectors(rng)[1], 60)


def had_by(rows):
    """By user, the items that it clicked, in requests and in histories: by hand."""
    found: dict[int, set[int]] = {}
    for number, user in enumerate(rows.users):
        own = found.setdefault(int(user), set())
        own |= {int(item) for item in rows.history[LENGTH * number : LENGTH * (number + 1)] if item >= 0}
        shown = slice(SHOWN * number, SHOWN * (number + 1))
        own |= {int(item) for item in rows.candidates[shown][rows.labels[shown]] if item >= 0}
    return found


def test_each_click_comes_once_an_epoch_with_an_item_of_its_history(rows):
    positives = Positives(rows, np.ones(ITEMS, bool), hard=3)
    assert (positives.clicks, positives.users) == (60, len(np.unique(rows.users)))
    clicks = rows.candidates[rows.labels]
    histories = {(int(item), tuple(rows.history[LENGTH * n : LENGTH * (n + 1)])) for n, item in enumerate(clicks)}
    seen = []
    for batch in positives.batches(16, np.random.default_rng(1)):
        seen += batch.clicked.tolist()
        for anchor, item in zip(batch.anchors, batch.clicked, strict=True):
            assert anchor != item
            assert any(anchor in history for click, history in histories if click == item)
    # But for those whose history is nothing but themselves.
    assert len(seen) <= 60 and set(seen) <= set(clicks.tolist()) and len(seen) >= 55


def test_hard_negatives_are_of_the_request_and_were_never_clicked(rows):
    positives, had = Positives(rows, np.ones(ITEMS, bool), hard=5), had_by(rows)
    users = np.unique(rows.users)
    requests = [set(rows.candidates[SHOWN * n : SHOWN * (n + 1)].tolist()) for n in range(60)]
    allowed = 0
    for batch in positives.batches(16, np.random.default_rng(1)):
        for row in range(len(batch.clicked)):
            chosen = batch.shown[row][batch.shown_allowed[row]].tolist()
            assert len(set(chosen)) == len(chosen) <= SHOWN - 1
            assert not set(chosen) & had[int(users[batch.users[row]])]
            assert any({*chosen, int(batch.clicked[row])} <= shown for shown in requests)
            allowed += len(chosen)
    assert allowed > 60


def test_false_negatives_are_known(rows):
    positives, had = Positives(rows, np.ones(ITEMS, bool), hard=0), had_by(rows)
    users, items = np.arange(len(np.unique(rows.users))), np.random.default_rng(2).integers(ITEMS, size=50)
    never = positives.never_clicked(users, items)
    of = np.unique(rows.users)
    expected = [[int(item) not in had[int(of[user])] for item in items] for user in users]
    assert never.tolist() == expected and not never.all()


def test_items_without_content_or_outside_the_catalogue_are_no_part_of_it(rows):
    rng = np.random.default_rng(3)
    outside = rng.random(len(rows.history)) < 0.2
    rows = dataclasses.replace(rows, history=np.where(outside, -1, rows.history))
    present = np.arange(ITEMS) % 3 > 0
    positives = Positives(rows, present, hard=3)
    assert 0 < positives.clicks < 60
    for batch in positives.batches(16, np.random.default_rng(1)):
        assert present[batch.anchors].all() and present[batch.clicked].all() and (batch.anchors >= 0).all()
        assert present[batch.shown[batch.shown_allowed]].all()


def test_log_q_is_the_share_of_the_clicks(rows):
    positives = Positives(rows, np.ones(ITEMS, bool), hard=0)
    counts = np.bincount(rows.candidates[rows.labels], minlength=ITEMS)
    np.testing.assert_allclose(positives.log_q, np.log(np.maximum(counts, 1) / 60), rtol=1e-6)
