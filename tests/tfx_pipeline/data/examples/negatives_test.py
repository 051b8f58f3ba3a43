"""Which items are drawn as negatives, and what the draw may know."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tfx_pipeline.config.negatives import Negatives
from tfx_pipeline.data.examples.negatives import NegativePool, UserNegatives
from tfx_pipeline.data.examples.requests import Request
from tfx_pipeline.data.examples.splits import Cuts

CUTS = Cuts(100, 200)
ITEMS = [f"i{number:02}".encode() for number in range(50)]


def drawn(pool: NegativePool, times: int, count: int, excluded: set[bytes] = frozenset()) -> Counter[bytes]:
    rng, found = np.random.default_rng(0), Counter[bytes]()
    for _ in range(times):
        items = pool.draw(rng, count, excluded)
        assert len(set(items)) == len(items) and excluded.isdisjoint(items)
        found.update(items)
    return found


def test_uniform_draws_every_item_alike() -> None:
    found = drawn(NegativePool.of(ITEMS, {}, Negatives()), 4000, 5, {ITEMS[0]})
    assert set(found) == set(ITEMS[1:])
    expected = 4000 * 5 / 49
    assert max(abs(count - expected) for count in found.values()) < 5 * expected**0.5


def test_popularity_draws_by_the_power_of_counts_in_train() -> None:
    positives = {ITEMS[number]: (number + 1) ** 2 for number in range(20)} | {b"not in the catalogue": 10_000}
    found = drawn(NegativePool.of(ITEMS, positives, Negatives(by="popularity", power=0.5)), 20_000, 1)
    weights = np.arange(1, 21)
    for number, weight in enumerate(weights.tolist()):
        expected = 20_000 * weight / weights.sum()
        assert abs(found[ITEMS[number]] - expected) < 5 * expected**0.5
    assert set(found) == set(ITEMS[:20])


@pytest.mark.parametrize("by", ["uniform", "popularity"])
def test_what_is_left_is_drawn_where_it_is_little(by: str) -> None:
    pool = NegativePool.of(ITEMS, dict.fromkeys(ITEMS, 3), Negatives(by=by))
    found = drawn(pool, 3000, 3, set(ITEMS[4:]))
    assert set(found) == set(ITEMS[:4]) and max(abs(count - 2250) for count in found.values()) < 250
    assert sorted(pool.draw(np.random.default_rng(1), 9, set(ITEMS[4:]))) == ITEMS[:4]
    assert pool.draw(np.random.default_rng(1), 9, set(ITEMS)) == []


def requests(*times_and_items: tuple[int, bytes]) -> list[Request]:
    return [Request(time, place, [item], [1], [place]) for place, (time, item) in enumerate(times_and_items)]


def of_user(history: list[Request], user: bytes = b"u", seed: int = 0, **given: list[bytes]) -> UserNegatives:
    negatives = Negatives(train=20, eval=20, test=20, seed=seed)
    if given:
        negatives = Negatives(train=20, test={"path": "/negatives.parquet"})
    return UserNegatives(user, history, CUTS, negatives, NegativePool(ITEMS[:24]), given)


def test_a_draw_knows_what_the_user_had_until_the_end_of_the_split_and_nothing_later() -> None:
    history = requests((10, ITEMS[0]), (90, ITEMS[1]), (150, ITEMS[2]), (250, ITEMS[3]))
    negatives = of_user(history)
    found = {}
    for request, split in zip(history, ("train", "train", "eval", "test"), strict=True):
        complete = negatives.complete(request, split)
        assert (complete.candidates[0], complete.labels) == (request.candidates[0], [1] + [0] * 20)
        assert complete.rows == request.rows
        found.setdefault(split, set()).update(complete.candidates[1:])
    # Of 24 items 20 are drawn, so that what may be drawn mostly is.
    assert found["train"].isdisjoint(ITEMS[:2]) and found["train"] == set(ITEMS[2:24])
    assert found["eval"].isdisjoint(ITEMS[:3]) and found["test"] == set(ITEMS[4:24])


def test_a_draw_hangs_on_the_request_alone() -> None:
    history = requests((10, ITEMS[0]), (90, ITEMS[1]), (150, ITEMS[2]))
    later = [*history, *requests((250, ITEMS[3]))]
    first, again = of_user(history).complete(history[1], "train"), of_user(later).complete(history[1], "train")
    assert first == again
    others = [
        of_user(history, user=b"v").complete(history[1], "train"),
        of_user(history, seed=1).complete(history[1], "train"),
        of_user(history).complete(history[0], "train"),
    ]
    assert all(other.candidates[1:] != first.candidates[1:] for other in others)


def test_given_negatives_are_taken_as_they_are_but_for_what_the_user_had() -> None:
    history = requests((10, ITEMS[0]), (250, ITEMS[3]))
    negatives = of_user(history, test=[ITEMS[7], ITEMS[0], ITEMS[5], ITEMS[7], ITEMS[3]])
    complete = negatives.complete(history[1], "test")
    assert complete.candidates == [ITEMS[3], ITEMS[7], ITEMS[5]] and complete.labels == [1, 0, 0]
    assert len(negatives.complete(history[0], "train").candidates) == 21
