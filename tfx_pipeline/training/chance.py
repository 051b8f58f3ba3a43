"""What epochs are judged by, and when a training has left chance: before, no epoch says anything about the next."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

# An AUC on eval that chance alone does not give, but for a split of a few hundred clicks.
LEFT_CHANCE = 0.51

# AUC of the first objective and of further ones, as Keras logs them.
_EVAL_AUC = re.compile(r"val_(.+_)?auc")


def eval_aucs(epoch: Mapping[str, float | None]) -> list[float]:
    """The eval AUC of each objective in an epoch.

    Args:
        epoch: its metrics, as Keras logs them; None for one that is not a number.
    """
    return [math.nan if auc is None else auc for name, auc in epoch.items() if _EVAL_AUC.fullmatch(name)]


def eval_auc(epoch: Mapping[str, float | None]) -> float:
    """Their mean, which is what epochs are chosen by; NaN where there is no eval split."""
    found = eval_aucs(epoch)
    return sum(found) / len(found) if found else math.nan


def has_left_chance(history: Iterable[Mapping[str, float | None]]) -> bool:
    """Whether the eval AUC of some epoch, of any objective, is clearly above 0.5.

    Args:
        history: metrics of every epoch, as Keras logs them.
    """
    return any(auc > LEFT_CHANCE for epoch in history for auc in eval_aucs(epoch))
