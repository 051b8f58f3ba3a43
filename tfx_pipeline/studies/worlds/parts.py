"""What makes a synthetic user click, in shares that sum to 1, and the worlds that have a name.

A click is drawn as the sign of a utility: the logit, which is a sum of parts, plus standard logistic noise. The
variance of the noise is pi^2 / 3, so that "share" means the same for a part and for the noise: of the variance of the
utility.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

PARTS = ("taste", "content", "interaction", "popularity", "context", "profile")
NOISE_VARIANCE = math.pi**2 / 3
# Above it late items leave too little to train on.
_MOST_COLD = 0.9


@dataclass(frozen=True)
class WorldParts:
    """Shares of the variance of a click's utility, which sum to 1, and the share of items that training never sees.

    Args:
        taste: the user's own taste for the item's hidden cluster. Only ids can tell: those of user, item and clicks.
        content: how alike the item's content is to the user's recent clicks. Needs no ids.
        interaction: whether the recent clicks that are alike in content are also of the item's hidden kind. Content
            says which of them are alike, ids say of which kind: it takes both.
        popularity: of the item.
        context: the device against the item's look.
        profile: the user's age against the item's topic.
        noise: what no ranker can know, above 0.
        cold_items: share of the catalogue that is launched in the last fifth of the time, from 0 to 0.9.

    Raises:
        ValueError: shares that are negative or do not sum to 1, no noise, or `cold_items` out of range.
    """

    taste: float = 0.0
    content: float = 0.0
    interaction: float = 0.0
    popularity: float = 0.0
    context: float = 0.0
    profile: float = 0.0
    noise: float = 0.6
    cold_items: float = 0.06

    def __post_init__(self) -> None:
        shares = self.shares
        problems = [f"{name} must be at least 0, got {share!r}" for name, share in shares.items() if not share >= 0]
        if not self.noise > 0:
            problems.append(f"noise must be above 0, since a click is a draw, got {self.noise!r}")
        if not abs(sum(shares.values()) - 1) < 1e-6:
            listed = ", ".join(f"{name} {share:g}" for name, share in shares.items() if share)
            problems.append(f"the shares must sum to 1, got {sum(shares.values()):g}: {listed}")
        if not 0 <= self.cold_items <= _MOST_COLD:
            problems.append(f"cold_items must be from 0 to {_MOST_COLD}, got {self.cold_items!r}")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def shares(self) -> dict[str, float]:
        """Share by name, the noise last."""
        return {name: getattr(self, name) for name in (*PARTS, "noise")}

    def with_shares(self, given: Mapping[str, float]) -> WorldParts:
        """Parts with some shares given; the others keep their proportions and share what is left.

        Args:
            given: share by name; "cold_items" may be among them, which is no share of the variance.

        Raises:
            ValueError: a name that does not exist, shares above 1 in all, or nothing to take up what is left.
        """
        known = (*PARTS, "noise", "cold_items")
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"there is no part {', '.join(map(repr, unknown))}; parts: {', '.join(known)}")
        shares = {name: share for name, share in given.items() if name != "cold_items"}
        kept = {name: share for name, share in self.shares.items() if name not in shares}
        left, have = 1 - sum(shares.values()), sum(kept.values())
        if left < -1e-9:
            raise ValueError(f"the given shares must sum to at most 1, got {sum(shares.values()):g}")
        if left > 1e-9 and not have:
            raise ValueError(f"the given shares leave {left:g}, and every part that was not given has a share of 0")
        kept = {name: share * max(left, 0.0) / have if have else 0.0 for name, share in kept.items()}
        return WorldParts(**kept, **{"cold_items": self.cold_items, **given})


@dataclass(frozen=True)
class Weights:
    """What each part is multiplied by in the logit, and the intercept."""

    intercept: float
    taste: float
    content: float
    interaction: float
    popularity: float
    context: float
    profile: float


@dataclass(frozen=True)
class Examination:
    """How far down users look, and in which order a logging policy shows: good items first, and promoted ones.

    An item is clicked if it is examined and relevant: P(click) = position ** -decay * sigmoid(logit), position from 1.

    Attributes:
        decay: of P(examined) over the position.
        promotion: of an item by the policy, in logits: standard deviation over the catalogue. It has nothing to do with
            relevance, and is the same in every request.
        noise: of the policy, in logits: standard deviation over impressions.
    """

    decay: float = 1.0
    promotion: float = 2.0
    noise: float = 0.5


@dataclass(frozen=True)
class Purchases:
    """Weights of the logit of a purchase, given a click, see `tfx_pipeline.studies.worlds.purchases`."""

    intercept: float
    desire: float
    quality: float


@dataclass(frozen=True)
class World:
    """How a synthetic log comes about.

    Attributes:
        parts: the shares that are wanted.
        recall: how recent clicks move a user, see `tfx_pipeline.studies.worlds.recall`: by their "average", or
            "count" of those that are alike, or by the average of what is "hidden" in the text.
        examination: how position and clicks hang together; None: all that is shown is examined.
        weights: fixed; None: found by `tfx_pipeline.studies.worlds.calibration` so that the shares come out as wanted.
        purchases: of what is clicked; None: there are none.
    """

    parts: WorldParts
    recall: Literal["average", "count", "hidden"] = "count"
    weights: Weights | None = None
    examination: Examination | None = None
    purchases: Purchases | None = None

    def with_shares(self, given: Mapping[str, float]) -> World:
        """The world with some shares given, see `WorldParts.with_shares`; its weights are found anew."""
        return dataclasses.replace(self, parts=self.parts.with_shares(given), weights=None)


# The demo's weights are from before its shares were known, and stay: the same seed gives the same log as ever. About
# 0.8 AUC is attainable, popularity alone reaches less than half of that gain, and content and taste both matter.
_DEMO = World(
    WorldParts(0.073, content=0.125, interaction=0.091, popularity=0.036, context=0.021, profile=0.006, noise=0.648),
    recall="average",
    weights=Weights(-2.2, taste=0.5, content=1.0, interaction=18.0, popularity=0.4, context=0.3, profile=0.15),
)

WORLDS: dict[str, World] = {
    "demo": _DEMO,
    "interaction": World(WorldParts(interaction=0.4, noise=0.6, cold_items=0.0)),
    "content": World(WorldParts(content=0.4, noise=0.6, cold_items=0.5)),
    "mixed": World(WorldParts(taste=0.02, content=0.16, interaction=0.2, popularity=0.02, noise=0.6, cold_items=0.1)),
    # What users are interested in lies in directions of the text that its cosine hardly shows.
    "hidden": World(WorldParts(content=0.4, noise=0.6, cold_items=0.2), recall="hidden"),
    # Few clicks, as the decay of their odds is then that of examination.
    "position": World(
        WorldParts(taste=0.128, popularity=0.208, noise=0.664, cold_items=0.0),
        weights=Weights(-2.5, taste=0.7, content=0.0, interaction=0.0, popularity=1.0, context=0.0, profile=0.0),
        examination=Examination(),
    ),
}

# Clicks are rare, and purchases rarer: what a model of clicked impressions alone has to learn from. Half of what makes
# users buy is what makes them click. The weights are fixed, as calibration would make half of the impressions clicks.
WORLDS["funnel"] = World(
    WorldParts(taste=0.06, content=0.19, popularity=0.04, noise=0.71, cold_items=0.0),
    weights=Weights(-3.6, taste=0.5, content=2.0, interaction=0.0, popularity=0.4, context=0.0, profile=0.0),
    purchases=Purchases(-3.0, desire=0.9, quality=0.5),
)


def measured_shares(contributions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Share of each part and of the noise in the variance of the utility.

    A part's share is its covariance with the logit over the variance of the utility, so that the shares sum to 1 though
    parts are correlated; it is below 0 for a part that others outweigh.

    Args:
        contributions: of each part to the logit, [impressions] each.
    """
    logit = np.sum(list(contributions.values()), axis=0)
    total = logit.var() + NOISE_VARIANCE
    shares = {
        name: float(np.mean((part - part.mean()) * (logit - logit.mean())) / total)
        for name, part in contributions.items()
    }
    return {**shares, "noise": float(NOISE_VARIANCE / total)}
