"""C-SFT on behaviour whose truth is known; and that nothing of later behaviour reaches it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.tfx_pipeline.training.content_tuning.behaviour import ITEMS, behaviour, vectors
from tfx_pipeline.config.fine_tuning import FineTuning
from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation.next_click import history_means, mean_cosines
from tfx_pipeline.training.content_tuning.fine_tuning import fine_tune
from tfx_pipeline.training.content_tuning.heads import Source

SETTINGS = FineTuning(dim=6, epochs=6, batch_size=64, queue=128, learning_rate=0.01, hard_negatives=3)


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    unit, groups = vectors(rng)
    present = np.arange(ITEMS) % 20 > 0
    return unit, present, behaviour(rng, groups, 600), behaviour(rng, groups, 150)


@pytest.fixture(scope="module")
def tuned(world):
    unit, present, train, judged = world
    return fine_tune({"text": Source(unit, present)}, train, judged, SETTINGS)


def separation(found: np.ndarray, present: np.ndarray, rows) -> float:
    """By how much the mean cosine of clicked candidates is above that of the others, in standard deviations."""
    cosines = mean_cosines(rows, history_means(rows, found, present), found, present)
    known = ~np.isnan(cosines)
    clicked, others = (cosines[known & mask] for mask in (rows.labels, ~rows.labels))
    return float((clicked.mean() - others.mean()) / cosines[known].std())


def test_it_finds_the_directions_that_users_go_by(world, tuned):
    unit, present, _, judged = world
    source = Source(unit, present)
    before, after = (
        separation(unit, present, judged),
        separation(source.projected(tuned.kernels["text"]), present, judged),
    )
    assert after > before + 0.5
    assert tuned.best > 0 and tuned.epochs[tuned.best].recall == max(epoch.recall for epoch in tuned.epochs)
    assert tuned.epochs[0].loss is None and all(epoch.loss is not None for epoch in tuned.epochs[1:])
    assert (tuned.kernels["text"].shape, tuned.judged > 100, tuned.clicks > 500) == ((12, 6), True, True)


def test_before_training_it_is_the_reduction(world):
    unit, present, *_ = world
    start = Source(unit, present).start(6)
    np.testing.assert_allclose(start.T @ start, np.eye(6), atol=1e-5)
    projected = Source(unit, present).projected(start)
    assert (projected[~present] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(projected[present], axis=1), 1, atol=1e-5)


def test_the_same_arguments_give_the_same_projections(world, tuned):
    unit, present, train, judged = world
    again = fine_tune({"text": Source(unit, present)}, train, judged, SETTINGS)
    np.testing.assert_allclose(again.kernels["text"], tuned.kernels["text"], atol=1e-3)
    other = fine_tune({"text": Source(unit, present)}, train, judged, SETTINGS.model_copy(update={"seed": 1}))
    assert np.abs(other.kernels["text"] - tuned.kernels["text"]).max() > 1e-2


def test_a_killed_one_goes_on_where_it_was(world, tuned, tmp_path):
    unit, present, train, judged = world
    sources, state = {"text": Source(unit, present)}, tmp_path / "state" / "text.npz"
    told: list[int] = []

    def watch(number, epoch):
        told.append(number)
        if told == [0, 1, 2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(sources, train, judged, SETTINGS, watch, state)
    found = fine_tune(sources, train, judged, SETTINGS, watch, state)
    assert told == list(range(len(tuned.epochs)))
    assert (found.best, found.judged, found.clicks) == (tuned.best, tuned.judged, tuned.clicks)
    # As far as sums of several threads are the same twice.
    np.testing.assert_allclose(found.kernels["text"], tuned.kernels["text"], atol=1e-3)
    assert [epoch.loss for epoch in found.epochs[1:]] == pytest.approx(
        [epoch.loss for epoch in tuned.epochs[1:]], rel=1e-4
    )
    # Killed between the last epoch and what comes after: nothing is trained again.
    again = fine_tune(sources, train, judged, SETTINGS, watch, state)
    assert told == list(range(len(tuned.epochs))) and again.judged == tuned.judged
    np.testing.assert_array_equal(again.kernels["text"], found.kernels["text"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_a_damaged_state_begins_anew(world, tmp_path, content):
    unit, present, train, judged = world
    state, told = tmp_path / "text.npz", []
    state.write_bytes(content)
    once = SETTINGS.model_copy(update={"epochs": 1})
    fine_tune({"text": Source(unit, present)}, train, judged, once, lambda number, _: told.append(number), state)
    assert told == [0, 1]


def test_eval_chooses_the_epoch_and_nothing_else(world, tuned):
    """Whatever eval holds, each epoch's training is the same: only which of them is kept may differ."""
    unit, present, train, judged = world
    turned = dataclasses.replace(judged, labels=~judged.labels)
    other = fine_tune({"text": Source(unit, present)}, train, turned, SETTINGS)
    shared = min(len(other.epochs), len(tuned.epochs))
    losses = [[epoch.loss for epoch in each.epochs[1:shared]] for each in (other, tuned)]
    # Kernels of several threads may add up in another order.
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    recalls = [[epoch.recall for epoch in each.epochs[:shared]] for each in (other, tuned)]
    assert recalls[0] != pytest.approx(recalls[1], abs=0.01)


def test_several_modalities_are_tuned_together(world):
    unit, present, train, judged = world
    other = np.arange(ITEMS) % 7 > 0
    sources = {"text": Source(unit, present), "image": Source(unit[:, ::-1].copy(), other)}
    told: list[int] = []
    once = SETTINGS.model_copy(update={"epochs": 1})
    found = fine_tune(sources, train, judged, once, lambda number, _: told.append(number))
    assert {name: kernel.shape for name, kernel in found.kernels.items()} == {"text": (12, 6), "image": (12, 6)}
    assert set(found.epochs[0].temperatures) == {"text", "image", "fused"}
    assert told == [0, 1]


def test_without_queue_and_hard_negatives_the_batch_alone_is_left(world):
    unit, present, train, judged = world
    settings = SETTINGS.model_copy(update={"queue": 0, "hard_negatives": 0, "epochs": 1})
    found = fine_tune({"text": Source(unit, present)}, train, judged, settings)
    assert len(found.epochs) == 2 and np.isfinite(found.epochs[1].loss)


def test_without_clicks_of_eval_the_last_epoch_counts(world):
    unit, present, train, judged = world
    nothing = dataclasses.replace(judged, labels=np.zeros_like(judged.labels))
    found = fine_tune({"text": Source(unit, present)}, train, nothing, SETTINGS.model_copy(update={"epochs": 2}))
    assert (found.best, found.judged) == (2, 0)


def test_a_split_without_histories_is_refused(world):
    unit, present, train, judged = world
    empty = dataclasses.replace(
        train, history=np.empty(0, np.int64), history_lengths=np.zeros(len(train.counts), np.int64)
    )
    with pytest.raises(DataError, match=r"content\.fine_tuning: 0 clicks of the train split follow another click"):
        fine_tune({"text": Source(unit, present)}, empty, judged, SETTINGS)
