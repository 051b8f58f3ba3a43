"""Weights of the parts, so that their shares come out as wanted.

Clicks become history, so that what a part contributes depends on the weights of all: the log is played, the weights are
set right for what was seen, and so on until the shares hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from tfx_pipeline.studies.worlds.parts import NOISE_VARIANCE, PARTS, Weights, WorldParts, measured_shares

# At a half, a part that is zero on average says nothing on average. At any other rate its variance would show in the
# clicks, and so would whatever the variance depends on.
CLICK_RATE = 0.5
# A share may differ by this from what is wanted; two logs of one world differ by about as much.
TOLERANCE = 0.005
_PLAYS = 8
_STEPS = 200


def calibrate(
    parts: WorldParts,
    play: Callable[[Weights], Mapping[str, np.ndarray]],
    progress: Callable[[float], None] | None = None,
) -> Weights:
    """Weights with which a world has the wanted shares, to about half a percent, and a click rate of about a half.

    Where the log is too small for the shares to hold still, those after the last of eight plays.

    Args:
        parts: the shares that are wanted.
        play: the contribution of each part to the logit, [impressions] each, of a log with these weights.
        progress: told the largest distance of a share from what is wanted, after each play.
    """
    weights = Weights(0.0, **{part: float(getattr(parts, part) > 0) for part in PARTS})
    for _ in range(_PLAYS):
        contributions = play(weights)
        used = {name: contributions[name] for name in PARTS if getattr(parts, name) > 0}
        found = measured_shares(contributions)
        distance = max(abs(found[name] - share) for name, share in parts.shares.items())
        factors = _factors(used, parts)
        logit = sum((factors[name] * part for name, part in used.items()), np.zeros(len(contributions[PARTS[0]])))
        intercept = _intercept(logit)
        if progress:
            progress(distance)
        if distance < TOLERANCE and abs(intercept - weights.intercept) < 0.05:
            break
        changed = {name: getattr(weights, name) * factor for name, factor in factors.items()}
        weights = dataclasses.replace(weights, intercept=intercept, **changed)
    return weights


def _factors(contributions: Mapping[str, np.ndarray], parts: WorldParts) -> dict[str, float]:
    """What to multiply each contribution by, so that its covariance with the sum is as wanted."""
    if not contributions:
        return {}
    names = list(contributions)
    covariance = np.atleast_2d(np.cov(np.stack([contributions[name] for name in names])))
    wanted = np.array([getattr(parts, name) for name in names]) * NOISE_VARIANCE / parts.noise
    factors = np.sqrt(wanted / np.maximum(np.diag(covariance), 1e-12))
    for _ in range(_STEPS):
        # Parts that others outweigh have a covariance below zero at first; their own variance pulls them up.
        have = np.maximum(factors * (covariance @ factors), 0.1 * factors**2 * np.diag(covariance))
        factors = factors * np.sqrt(wanted / np.maximum(have, 1e-12))
    return {name: float(factor) for name, factor in zip(names, factors, strict=True)}


def _intercept(logit: np.ndarray) -> float:
    """The intercept that gives the click rate."""
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        rate = np.mean(1 / (1 + np.exp(-(logit + middle))))
        low, high = (middle, high) if rate < CLICK_RATE else (low, middle)
    return (low + high) / 2
