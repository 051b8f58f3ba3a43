"""What users of a world buy of what they click.

A purchase is a draw with probability sigmoid(intercept + desire x d + quality x q), given a click: d is the logit of
the click without its intercept, q the quality of the item, which clicks do not depend on. So who clicks more readily
buys more readily, and what was not clicked would have been bought less often: a model that has seen clicks alone has
seen others than those that it is asked about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfx_pipeline.studies.worlds.parts import Purchases
from tfx_pipeline.studies.worlds.world import Impressions


@dataclass(frozen=True)
class Bought:
    """Of each impression of a log, [rows].

    Attributes:
        probability: float64, of a purchase given a click; of what was not clicked too.
        label: bool, whether it was bought; only what was clicked is.
    """

    probability: np.ndarray
    label: np.ndarray

    def measured(self, clicked: np.ndarray) -> dict[str, float]:
        """Shares of the log and mean probabilities: of what was clicked, and of what was not."""
        return {
            "purchase_rate": float(self.label.mean()),
            "conversion_of_clicked": float(self.probability[clicked].mean()),
            "conversion_of_unclicked": float(self.probability[~clicked].mean()),
        }


def draw(rng: np.random.Generator, purchases: Purchases, log: Impressions, items: int) -> Bought:
    """Draws the purchases of a log.

    Args:
        rng: source of chance.
        purchases: the weights.
        log: its clicks.
        items: in the catalogue.
    """
    desire = np.sum(list(log.contributions.values()), axis=0)
    quality = rng.standard_normal(items)[log.item]
    logit = purchases.intercept + purchases.desire * desire + purchases.quality * quality
    probability = 1 / (1 + np.exp(-logit))
    return Bought(probability, log.label & (rng.random(len(logit)) < probability))
