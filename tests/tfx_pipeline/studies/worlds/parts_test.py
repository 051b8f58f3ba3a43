from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_pipeline.studies.worlds.parts import NOISE_VARIANCE, PARTS, WORLDS, WorldParts, measured_shares


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"taste": -0.1, "noise": 1.1}, "taste must be at least 0, got -0.1"),
        ({"content": float("nan"), "noise": 0.5}, "content must be at least 0, got nan"),
        ({"content": 1.0, "noise": 0.0}, "noise must be above 0"),
        ({"content": 0.2, "noise": 0.6}, "must sum to 1, got 0.8: content 0.2, noise 0.6"),
        ({"content": 0.4, "cold_items": 0.95}, r"cold_items must be from 0 to 0\.9, got 0\.95"),
    ],
)
def test_impossible_parts_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        WorldParts(**values)


def test_all_problems_are_said_at_once():
    with pytest.raises(ValueError, match=r"taste must be .*; noise must be .*; the shares must sum .*; cold_items"):
        WorldParts(taste=-1.0, noise=0.0, cold_items=2.0)


def test_given_shares_leave_the_rest_in_proportion():
    parts = WorldParts(taste=0.1, content=0.3, noise=0.6, cold_items=0.2)
    changed = parts.with_shares({"content": 0.5})
    assert changed.content == 0.5
    assert changed.taste / changed.noise == pytest.approx(0.1 / 0.6)
    assert sum(changed.shares.values()) == pytest.approx(1)
    assert changed.cold_items == 0.2
    assert parts.with_shares({"cold_items": 0.7}) == WorldParts(taste=0.1, content=0.3, noise=0.6, cold_items=0.7)
    everything = parts.with_shares({"interaction": 0.25, "noise": 0.75})
    assert everything == WorldParts(interaction=0.25, noise=0.75, cold_items=0.2)


@pytest.mark.parametrize(
    ("given_shares", "message"),
    [
        ({"tast": 0.1}, "there is no part 'tast'; parts: taste, content, .*, noise, cold_items"),
        ({"taste": 0.7, "content": 0.4}, r"sum to at most 1, got 1\.1"),
        (
            {"taste": 0.2, "noise": 0.3, "content": 0.1},
            r"leave 0\.4, and every part that was not given has a share of 0",
        ),
    ],
)
def test_given_shares_that_cannot_be(given_shares, message):
    with pytest.raises(ValueError, match=message):
        WorldParts(content=0.4, noise=0.6).with_shares(given_shares)


def test_a_world_with_other_shares_finds_its_weights_anew():
    demo = WORLDS["demo"]
    assert demo.weights is not None
    changed = demo.with_shares({"noise": 0.5})
    assert changed.weights is None
    assert changed.recall == demo.recall
    assert changed.parts.noise == 0.5


def test_one_part_alone_makes_the_click_in_the_pure_worlds():
    for name in ("interaction", "content"):
        assert {part for part in PARTS if getattr(WORLDS[name].parts, part)} == {name}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=5), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_measured_shares_sum_to_one_though_parts_are_correlated(scales, common, seed):
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal(200)
    parts = {str(n): scale * (common * shared + rng.standard_normal(200)) for n, scale in enumerate(scales)}
    shares = measured_shares(parts)
    assert sum(shares.values()) == pytest.approx(1)
    logit = np.sum(list(parts.values()), axis=0)
    assert shares["noise"] == pytest.approx(NOISE_VARIANCE / (np.var(logit) + NOISE_VARIANCE))


def test_share_of_an_independent_part_is_that_of_its_variance():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 200_000))
    shares = measured_shares({"first": first, "second": 2 * second, "zero": np.zeros(200_000)})
    total = 5 + NOISE_VARIANCE
    assert shares == pytest.approx(
        {"first": 1 / total, "second": 4 / total, "zero": 0, "noise": NOISE_VARIANCE / total}, abs=0.005
    )


def test_noise_is_that_of_a_logistic_draw():
    """A click with probability sigmoid(x) is the event x + noise > 0 for noise of this variance."""
    rng = np.random.default_rng(2)
    noise = rng.logistic(size=1_000_000)
    assert noise.var() == pytest.approx(NOISE_VARIANCE, rel=0.01)
    assert np.mean(0.7 + noise > 0) == pytest.approx(1 / (1 + np.exp(-0.7)), abs=0.002)
