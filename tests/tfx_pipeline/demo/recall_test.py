from __future__ import annotations

import numpy as np
import pytest

from tfx_pipeline.demo.parts import WORLDS, Weights
from tfx_pipeline.demo.recall import AverageRecall, CountingRecall, make_recall
from tfx_pipeline.demo.world import make_items

WEIGHTS = Weights(0.0, taste=0.0, content=1.0, interaction=1.0, popularity=0.0, context=0.0, profile=0.0)


@pytest.fixture(scope="module")
def items():
    return make_items(np.random.default_rng(3), 300, 0.1)


@pytest.fixture(scope="module")
def counting(items):
    return CountingRecall(items, WEIGHTS)


def of_topic(items, topic, *, odd=None):
    """Items of a topic with both embeddings, optionally of one half of the hidden clusters."""
    found = (items.topics == topic) & items.has_text & items.has_image
    return np.flatnonzero(found if odd is None else found & (items.tastes % 2 == odd))


def test_worlds_have_the_recall_they_name(items):
    assert isinstance(make_recall(WORLDS["demo"], items, WEIGHTS), AverageRecall)
    assert isinstance(make_recall(WORLDS["mixed"], items, WEIGHTS), CountingRecall)


def test_content_is_about_a_count_and_not_a_share(items, counting):
    candidate, *alike = of_topic(items, 0)
    others = of_topic(items, 1)
    slate = np.array([candidate])
    none, some, many = (
        counting(slate, [*alike[:count], *others[: 10 - count]])[0][0] for count in (0, 2, min(8, len(alike)))
    )
    # It rises with the clicks that are alike, and falls again.
    assert some > none + 5
    assert many < some - 5
    # Two of two and two of ten are the same to it, but for the little that other topics are alike.
    assert counting(slate, alike[:2])[0][0] == pytest.approx(some, abs=3)
    # To the average, two of two and two of ten are not the same, and two of two and eight of eight are.
    average = AverageRecall(items, WEIGHTS)
    per_click = {
        (own, other): average(slate, [*alike[:own], *others[:other]])[0][0] * (own + other + 2) / (own + other)
        for own, other in ((2, 0), (8, 0), (2, 8))
    }
    assert per_click[2, 0] > per_click[2, 8] + 3
    assert per_click[2, 0] == pytest.approx(per_click[8, 0], abs=2)


def test_interaction_is_what_the_alike_clicks_meant(items, counting):
    candidate = of_topic(items, 0)[-1:]
    meant_well, meant_ill = of_topic(items, 0, odd=1)[:5].tolist(), of_topic(items, 0, odd=0)[:5].tolist()
    well, ill, both = (counting(candidate, clicks)[1][0] for clicks in (meant_well, meant_ill, meant_well + meant_ill))
    assert well > 0.6
    assert ill < -0.6
    assert abs(both) < 0.25
    # The content of the two histories is the same to a ranker that counts.
    counts = [counting(candidate, clicks)[0][0] for clicks in (meant_well, meant_ill)]
    assert counts[0] == pytest.approx(counts[1], rel=0.15)


def test_interaction_says_nothing_on_average_of_a_candidate_or_of_content(items, counting):
    rng = np.random.default_rng(4)
    slate = np.arange(300)
    found = np.stack([counting(slate, rng.integers(300, size=30).tolist())[1] for _ in range(400)])
    content = np.stack([counting(slate, rng.integers(300, size=30).tolist())[0] for _ in range(400)])
    assert found.std() > 0.25
    assert np.abs(found.mean(axis=0)).max() < 0.25
    assert abs(np.corrcoef(found.ravel(), content.ravel())[0, 1]) < 0.05


def test_items_without_content_are_alike_to_nothing(items, counting):
    blank = np.flatnonzero(~items.has_text & items.has_image)[:1]
    assert counting(blank, of_topic(items, 0)[:5].tolist())[1] == 0
    assert counting(of_topic(items, 0)[:1], blank.tolist())[1] == 0


def test_average_is_the_mean_of_single_clicks(items):
    average = AverageRecall(items, WEIGHTS)
    slate, clicks = np.arange(20), [40, 50, 60]
    single = np.mean([np.stack(average(slate, [click])) for click in clicks], axis=0) * 3
    np.testing.assert_allclose(np.stack(average(slate, clicks)), single * 3 / 5, atol=1e-5)
