"""Why a score is what it is: names of what `RankingModel.explain` tells, and how a logit is divided among its parts.

A model's logit is a function of parts: the embedding of the candidate, the user's features, what was made of the
history. Each part is either there, or in its neutral state, in which it says nothing: zeros for embeddings and
features, and for what was made of the history the value that it has for an empty one. With v(S) the logit where the
parts in S are there and the others neutral,

    logit = v(all),  base = v(none),  without_p = v(all but p)
    contribution_p = sum over S without p of |S|! (P - |S| - 1)! / P! (v(S + p) - v(S))

the mean, over all orders in which the parts can arrive, of what p changes when it arrives. Contributions add up:
base + sum_p contribution_p = logit. They are those of Shapley 1953, A value for n-person games; for features of a model
SHAP, arXiv:1705.07874. All 2^P logits are computed, none is sampled.
"""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from dmf_keras.types import Tensor

# Float32 [B, N]: the logit, and the one with every part neutral.
LOGIT, BASE_LOGIT = "logit", "base_logit"
# Attention weights, exactly 0 on padding: float32 [B, N, L], the mean over heads, and [B, N, H, L]. They sum to 1, for
# an empty history to 0.
ATTENTION, ATTENTION_BY_HEAD = "attention", "attention_by_head"
# Weights float32 [B, N, L], exactly 0 on padding, that no softmax made, those of DIN: they may be negative and sum to
# anything. Or such a unit's that one did make, those of MAKE.
ACTIVATION = "activation"

# Parts of every model: the candidate's embedding; that of the user's id; profile and context columns; and what the one
# interest of a model is made of, if it has one.
ITEM, USER, COLUMNS, HISTORY = "item", "user", "columns", "history"


def further_history(name: str) -> str:
    """Name of the part that was made of a further history."""
    return f"{HISTORY}/{name}"


def similarity(modality: str) -> str:
    """Name of the cosines of candidates and history items, float32 [B, N, L]; 0 where one side has no content."""
    return f"similarity_{modality}"


def bucket(modality: str) -> str:
    """Name of the buckets of these cosines, int32 [B, N, L], ids in [0, S - 1]; -1 where one side has no content."""
    return f"bucket_{modality}"


def contribution(part: str) -> str:
    """Name of what a part adds to the logit, float32 [B, N]."""
    return f"contribution_{part}"


def without(part: str) -> str:
    """Name of the logit with that one part neutral, float32 [B, N]."""
    return f"without_{part}"


def attention_outputs(weights: Tensor) -> dict[str, Tensor]:
    """`attention` and `attention_by_head` of the weights [B, H, N, L] that an attention layer returns."""
    return {ATTENTION: ops.mean(weights, axis=1), ATTENTION_BY_HEAD: ops.transpose(weights, (0, 2, 1, 3))}


def coalitions(parts: int) -> np.ndarray:
    """All subsets of P parts: bool [2^P, P]. Row k has part p where bit p of k is set: none first, all last."""
    inside: np.ndarray = (np.arange(2**parts)[:, None] >> np.arange(parts)) % 2 == 1
    return inside


def contribution_weights(parts: int) -> np.ndarray:
    """Float64 [P, 2^P]: by the logits of `coalitions`, the contribution of each part."""
    inside = coalitions(parts)
    sizes = inside.sum(axis=1)
    # Of a coalition with p, seen from the one without it, which has one part less.
    weights = np.array([0.0, *(1 / (parts * math.comb(parts - 1, size - 1)) for size in range(1, parts + 1))])[sizes]
    lost = np.array([*(1 / (parts * math.comb(parts - 1, size)) for size in range(parts)), 0.0])[sizes]
    contributions: np.ndarray = np.where(inside, weights[:, None], -lost[:, None]).T
    return contributions
