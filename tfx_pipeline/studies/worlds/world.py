"""The little world behind the synthetic logs: items with hidden and visible sides, users with tastes, and their clicks.

The logit of a click is an intercept and a sum of parts, each with a weight (`parts.Weights`):

    taste        hidden cluster of the item against the user's hidden taste: only ids and co-clicks can tell
    content      content of the item against the user's own recent clicks, text and image
    interaction  content AND hidden cluster of recent clicks together: neither side alone explains it
    popularity   of the item
    context      the device against the item's look
    profile      age against the item's topic

`recall` has the two that come from recent clicks. Nothing is adjusted afterwards: the label is one draw with that
probability, so the probability is the best score there can be. With an examination (`parts.Examination`) a click takes
more: the item is examined at its position, too. The probability is still the best score there can be, position unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfx_pipeline.studies.worlds.parts import PARTS, Examination, Weights
from tfx_pipeline.studies.worlds.population import Items, Users
from tfx_pipeline.studies.worlds.recall import Recall
from tfx_pipeline.studies.worlds.titles import STYLES, TOPICS

DEVICES = ("phone", "tablet", "desktop")
DAYS = 30


@dataclass(frozen=True)
class Impressions:
    """The log in time order: [rows] each."""

    request: np.ndarray
    user: np.ndarray
    item: np.ndarray
    time_s: np.ndarray
    """int64 seconds from the log's start; no two requests share one"""
    device: np.ndarray
    position: np.ndarray | None
    """int64 from 1, where the world has an examination"""
    probability: np.ndarray
    """float64, known only here: of a click on what is examined"""
    label: np.ndarray
    contributions: dict[str, np.ndarray]
    """float64, what each part adds to the logit"""


def simulate(
    rng: np.random.Generator,
    items: Items,
    users: Users,
    requests: int,
    candidates: int,
    weights: Weights,
    recall: Recall,
    progress: Callable[[float], None] | None = None,
    examination: Examination | None = None,
) -> Impressions:
    """Plays the log forward in time: each click becomes history of that user's later requests.

    Args:
        rng: source of chance.
        items: the catalogue.
        users: who asks.
        requests: how many; at least as many as users. Whoever is there from the start asks at least once.
        candidates: on average per request, drawn from half to one and a half of it.
        weights: of the parts.
        recall: how recent clicks move a user.
        progress: told the share that is done, now and then.
        examination: how position and clicks hang together; None: slates have no order.
    """
    time_s = np.sort(rng.choice(DAYS * 86_400, requests, replace=False))
    moment = time_s / (DAYS * 86_400)
    who = _who_asks(rng, users, moment)
    device = rng.choice(len(DEVICES), requests, p=(0.6, 0.15, 0.25))
    device_effect = weights.context * rng.standard_normal((len(DEVICES), len(STYLES)))
    age_effect = weights.profile * rng.standard_normal(len(TOPICS))
    sizes = rng.integers((candidates + 1) // 2, candidates + candidates // 2, requests, endpoint=True)
    exposure = items.exposure
    promotion = examination.promotion * rng.standard_normal(len(exposure)) if examination else np.zeros(0)

    memories: list[list[int]] = [[] for _ in users.age]
    shown, chances, clicks, adds, places = [], [], [], [], []
    for number, (now, user, seen_on, size) in enumerate(zip(moment, who, device, sizes, strict=True)):
        # The largest of exponential races: sampling without replacement in proportion to exposure.
        race = rng.standard_exponential(len(exposure)) / exposure
        race[items.launched > now] = np.inf
        slate = rng.permutation(np.argpartition(race, size)[:size])
        taste = weights.taste * users.taste[user, items.tastes[slate]]
        popularity = weights.popularity * items.popularity[slate]
        context = device_effect[seen_on, items.styles[slate]]
        profile = age_effect[items.topics[slate]] * (users.age[user] - 45) / 17
        memory = memories[user]
        content, interaction = recall(slate, memory) if memory else np.zeros((2, size))
        logit = weights.intercept + taste + popularity + context + profile + (content + interaction)
        chance = 1 / (1 + np.exp(-logit))
        examined = np.ones(size)
        if examination is not None:
            policy = logit + promotion[slate] + examination.noise * rng.standard_normal(size)
            place = np.argsort(np.argsort(-policy)) + 1
            places.append(place)
            examined = place ** -float(examination.decay)
        clicked = rng.random(size) < chance * examined
        memories[user] = (memory + slate[clicked].tolist())[-recall.memory :]
        shown.append(slate)
        chances.append(chance)
        clicks.append(clicked)
        adds.append(
            {
                "taste": taste,
                "content": content,
                "interaction": interaction,
                "popularity": popularity,
                "context": context,
                "profile": profile,
            }
        )
        if progress and number % 1000 == 0:
            progress(number / requests)
    return Impressions(
        request=np.repeat(np.arange(requests), sizes),
        user=np.repeat(who, sizes),
        item=np.concatenate(shown),
        time_s=np.repeat(time_s, sizes),
        device=np.repeat(device, sizes),
        position=np.concatenate(places) if places else None,
        probability=np.concatenate(chances),
        label=np.concatenate(clicks),
        contributions={part: np.concatenate([added[part] for added in adds]).astype(np.float64) for part in PARTS},
    )


def _who_asks(rng: np.random.Generator, users: Users, moment: np.ndarray) -> np.ndarray:
    old, new = np.flatnonzero(users.joined == 0), np.flatnonzero(users.joined > 0)
    more = rng.choice(old, len(moment) - len(old), p=users.activity[old])
    who = rng.permutation(np.concatenate([old, more]))
    # Newcomers take over some of the late requests, each a few, but never the only one of somebody else.
    spare = np.ones(len(who), bool)
    spare[np.unique(who, return_index=True)[1]] = False
    for user in new:
        taken = rng.permutation(np.flatnonzero(spare & (moment >= users.joined[user])))[:5]
        who[taken], spare[taken] = user, False
    return who
