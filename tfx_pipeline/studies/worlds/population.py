"""The items and the users of a world: items with hidden and visible sides, users with tastes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from tfx_pipeline.studies.worlds.titles import STYLES, TOPICS

TASTES = 4
TEXT_WIDTH, IMAGE_WIDTH = 48, 32
INTEREST_WIDTH = 6

# How much more often popular items are shown: the standard deviation of the log of their exposure.
_EXPOSURE = 1.0
# How long the hidden part of a text is, beside a loud part of length 1, and how far items of a group lie apart in it.
_HIDDEN, _WITHIN = 0.35, 0.5
# Share of the time after which new items and new users appear.
_LATE = 0.8


@dataclass(frozen=True)
class Items:
    """[I] each unless said otherwise."""

    topics: np.ndarray
    styles: np.ndarray
    tastes: np.ndarray
    """int: the hidden cluster, which content does not reveal"""
    popularity: np.ndarray
    launched: np.ndarray
    """share of the log's time at which the item appears; 0 for most"""
    text: np.ndarray
    """float32 [I, TEXT_WIDTH], not of unit length"""
    image: np.ndarray
    """float32 [I, IMAGE_WIDTH], not of unit length"""
    has_text: np.ndarray
    has_image: np.ndarray
    interest: np.ndarray | None = None
    """float64 [I, INTEREST_WIDTH] of length 1: what users are interested in, where it is hidden in the text"""

    @property
    def exposure(self) -> np.ndarray:
        """How often an item is shown, relative to the others."""
        return np.exp(_EXPOSURE * self.popularity)


@dataclass(frozen=True)
class Users:
    """[U] each unless said otherwise."""

    taste: np.ndarray
    """float32 [U, TASTES]"""
    activity: np.ndarray
    """share of the requests, sums to 1 over old users"""
    joined: np.ndarray
    """share of the log's time from which the user is there; 0 for most"""
    age: np.ndarray
    gender: np.ndarray


def make_items(rng: np.random.Generator, count: int, cold: float) -> Items:
    """Draws the catalogue; a share `cold` of it is launched late."""
    topics, styles = rng.integers(len(TOPICS), size=count), rng.integers(len(STYLES), size=count)
    tastes = rng.integers(TASTES, size=count)
    launched = np.where(rng.random(count) < cold, rng.uniform(_LATE, 0.98, count), 0.0)
    has_text, has_image = rng.random(count) > 0.03, rng.random(count) > 0.06
    text, image = _embed(rng, topics, TEXT_WIDTH), _embed(rng, styles, IMAGE_WIDTH)
    return Items(topics, styles, tastes, rng.standard_normal(count), launched, text, image, has_text, has_image)


def with_hidden_interest(rng: np.random.Generator, items: Items) -> Items:
    """The items with other texts: what users are interested in is there, but the cosine hardly shows it.

    A text is a loud part, of its topic, and a quiet one at right angles to it, of a group that has nothing to do with
    the topic: as a title says more of how it is worded than of whom it is for. A projection that drops the loud
    directions shows the quiet ones.
    """
    count = len(items.topics)
    basis = np.linalg.qr(rng.standard_normal((TEXT_WIDTH, TEXT_WIDTH)))[0]
    quiet, loud = basis[:INTEREST_WIDTH], basis[INTEREST_WIDTH:]
    centres = np.linalg.qr(rng.standard_normal((INTEREST_WIDTH, INTEREST_WIDTH)))[0]
    groups = rng.integers(2 * INTEREST_WIDTH, size=count)
    # Two groups a direction, one at each end of it.
    signs = np.where(groups < INTEREST_WIDTH, 1.0, -1.0)[:, None]
    noise = rng.standard_normal((count, INTEREST_WIDTH)) / np.sqrt(INTEREST_WIDTH)
    interest = signs * centres[groups % INTEREST_WIDTH] + _WITHIN * noise
    interest /= np.linalg.norm(interest, axis=1, keepdims=True)
    topics = _embed(rng, items.topics, TEXT_WIDTH - INTEREST_WIDTH)
    topics = topics / np.linalg.norm(topics, axis=1, keepdims=True)
    text = (topics @ loud + _HIDDEN * interest @ quiet).astype(np.float32)
    return dataclasses.replace(items, text=text, interest=interest)


def make_users(rng: np.random.Generator, count: int) -> Users:
    """Draws the users: each likes one hidden cluster, likes another half as much, and does not care for the rest."""
    order = np.argsort(rng.random((count, TASTES)), axis=1)
    taste = np.full((count, TASTES), -0.6, np.float32)
    np.put_along_axis(taste, order[:, :1], 2.0, axis=1)
    np.put_along_axis(taste, order[:, 1:2], 1.0, axis=1)
    joined = np.where(rng.random(count) < 0.02, rng.uniform(_LATE, 0.95, count), 0.0)
    activity = rng.lognormal(0.0, 0.7, count)
    return Users(
        taste=taste * rng.uniform(0.6, 1.4, (count, 1)).astype(np.float32),
        activity=activity / activity[joined == 0].sum(),
        joined=joined,
        age=rng.integers(16, 75, count),
        gender=rng.choice(np.array(["f", "m"]), count),
    )


def _embed(rng: np.random.Generator, groups: np.ndarray, width: int) -> np.ndarray:
    """Embeddings as an encoder would give them: items of a group lie about its centre, at lengths of their own."""
    centres = rng.standard_normal((groups.max() + 1, width))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    noise = rng.standard_normal((len(groups), width)) / np.sqrt(width)
    vectors = centres[groups] + 0.7 * noise
    scaled: np.ndarray = vectors * rng.lognormal(1.0, 0.2, (len(groups), 1))
    return scaled.astype(np.float32)
