from __future__ import annotations

import numpy as np
import pytest

from tfx_pipeline.studies.worlds.parts import WORLDS, Weights
from tfx_pipeline.studies.worlds.population import make_items
from tfx_pipeline.studies.worlds.recall import AverageRecall, CountingRecall, make_recall

WEIGHTS = Weights(0.0, taste=0.0, content=1.0, interaction=1.0, popularity=0.0, context=0.0, profile=0.0)


@pytest.fixture(scope="module")
def items():
    return make_items(np.random.default_rng(3), 300, 0.1)


@pytest.fixture(scope="module")
def counting(items):
    return CountingRecall(items, WEIGHTS)


def of_topic(items, topic):
    """Items of a topic with both embeddings, popular ones first."""
    found = np.flatnonzero((items.topics == topic) & items.has_text & items.has_image)
    return found[np.argsort(-items.popularity[found])]


def kinds_of_topic(items, counting, topic):
    """Items of a topic in its two hidden halves, told apart by what a click on the first does to the others."""
    first, *rest = of_topic(items, topic).tolist()
    same = counting(np.array(rest), [first])[1] > 0
    return [first, *np.array(rest)[same].tolist()], np.array(rest)[~same].tolist()


def test_worlds_have_the_recall_they_name(items):
    assert isinstance(make_recall(WORLDS["demo"], items, WEIGHTS), AverageRecall)
    assert isinstance(make_recall(WORLDS["mixed"], items, WEIGHTS), CountingRecall)


def test_content_is_about_a_count_and_not_a_share(items, counting):
    candidate, *alike = of_topic(items, 0)
    others = of_topic(items, 1)

    def content(recall, own, other):
        return recall(np.array([candidate]), [*alike[:own], *others[:other]])[0][0]

    # It rises with the clicks that are alike, and falls again, whatever the others are.
    assert content(counting, 0, 5) < 0.1
    for other in (0, 10):
        assert content(counting, 2, other) > 0.8
        assert content(counting, 8, other) < 0.3
    # To the average a share is what counts: two of two and eight of eight are the same, two of twelve are not.
    average = AverageRecall(items, WEIGHTS)
    of_two, of_eight, of_twelve = (
        content(average, own, other) * (own + other + 2) / (own + other) for own, other in ((2, 0), (8, 0), (2, 10))
    )
    assert of_two == pytest.approx(of_eight, abs=2)
    assert of_two > of_twelve + 3


def test_interaction_is_agreement_of_kinds_among_what_is_alike(items, counting):
    ours, theirs = kinds_of_topic(items, counting, 0)
    candidate = np.array(ours[:1])
    elsewhere = of_topic(items, 1)[:10].tolist()
    for others in ([], elsewhere):
        assert counting(candidate, ours[1:5] + others)[1][0] > 0.8
        assert counting(candidate, theirs[:4] + others)[1][0] < -0.8
        assert abs(counting(candidate, ours[1:4] + theirs[:3] + others)[1][0]) < 0.2
    # A candidate of the other kind takes the same clicks the other way.
    assert counting(np.array(theirs[4:5]), ours[1:5])[1][0] < -0.8
    # To who only sees how much is alike, both histories are the same.
    assert counting(candidate, ours[1:5])[0][0] == pytest.approx(counting(candidate, theirs[:4])[0][0], abs=0.1)


def test_both_kinds_of_a_topic_are_shown_as_often(items, counting):
    for topic in range(3):
        shown = [items.exposure[kind].sum() for kind in kinds_of_topic(items, counting, topic)]
        # But for the few without a text, which are of a kind too.
        assert shown[0] == pytest.approx(shown[1], rel=0.35)


def test_interaction_says_nothing_to_who_knows_content_or_the_candidate(items, counting):
    rng = np.random.default_rng(4)
    slate, shown = np.arange(300), items.exposure / items.exposure.sum()
    found = [counting(slate, rng.choice(300, 30, replace=False, p=shown).tolist()) for _ in range(400)]
    content, interaction = (np.stack(part) for part in zip(*found, strict=True))
    assert interaction.std() > 0.4
    assert abs(np.corrcoef(interaction.ravel(), content.ravel())[0, 1]) < 0.03
    assert interaction.mean(axis=0).std() < 0.25 * interaction.std()


def test_a_click_on_the_item_itself_is_not_alike(items, counting):
    item = of_topic(items, 0)[0]
    assert counting(np.array([item]), [int(item)] * 3) == (0, 0)


def test_items_without_content_are_alike_to_nothing(items, counting):
    blank = np.flatnonzero(~items.has_text & items.has_image)[:1]
    assert counting(blank, of_topic(items, 0)[:5].tolist())[1] == 0
    assert counting(of_topic(items, 0)[:1], blank.tolist())[1] == 0


def test_average_is_the_mean_of_single_clicks(items):
    average = AverageRecall(items, WEIGHTS)
    slate, clicks = np.arange(20), [40, 50, 60]
    single = np.mean([np.stack(average(slate, [click])) for click in clicks], axis=0) * 3
    np.testing.assert_allclose(np.stack(average(slate, clicks)), single * 3 / 5, atol=1e-5)
