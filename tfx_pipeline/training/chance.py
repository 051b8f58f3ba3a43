"""When a training has left chance: until then no epoch of it says anything about the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MONITOR = "val_auc"
# An AUC on eval that chance alone does not give, but for a split of a few hundred clicks.
LEFT_CHANCE = 0.51


def has_left_chance(history: Iterable[Mapping[str, float | None]]) -> bool:
    """Whether the eval AUC of some epoch is clearly above 0.5.

    Args:
        history: metrics of every epoch, as Keras logs them.
    """
    return any((epoch.get(MONITOR) or 0.0) > LEFT_CHANCE for epoch in history)
