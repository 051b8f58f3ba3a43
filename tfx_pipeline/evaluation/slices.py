"""The columns by which candidates are sliced, and their bucket rules."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from tfx_pipeline.config.schema import Evaluation

SPLIT = "split"
ITEM_FREQUENCY = "item_frequency"
HISTORY_LENGTH = "history_length"
CONTENT = "content"
USER = "user"

# Every slice is within a split. The first entry is the whole split. Rows lack a column that their model cannot tell.
SLICINGS: tuple[tuple[str, ...], ...] = (
    (SPLIT,),
    (SPLIT, ITEM_FREQUENCY),
    (SPLIT, HISTORY_LENGTH),
    (SPLIT, CONTENT),
    (SPLIT, USER),
)

_NAMED_ORDER = {"cold": 0, "rare": 1, "tail": 2, "head": 3, "with": 0, "without": 1, "empty": 0, "known": 0, "new": 1}


def item_frequency(train_impressions: np.ndarray, evaluation: Evaluation) -> pd.Categorical:
    """Bucket of each item: "cold" was never shown in train, then "rare", "tail" and "head".

    Args:
        train_impressions: int64 [n].
        evaluation: gives the lower edges of tail (`rare_below`) and head (`head_from`).
    """
    return _buckets(
        train_impressions, [1, evaluation.rare_below, evaluation.head_from], ["cold", "rare", "tail", "head"]
    )


def history_length(lengths: np.ndarray, evaluation: Evaluation) -> pd.Categorical:
    """Bucket of each history: "empty", then ranges such as "1-9", "10-29" and "30+".

    Args:
        lengths: int64 [n].
        evaluation: gives the lower edges; 1 is always one of them, since only an empty history is "empty".
    """
    edges = sorted({1, *evaluation.history_edges})
    ranges = [f"{low}-{high - 1}" if high - low > 1 else f"{low}" for low, high in itertools.pairwise(edges)]
    return _buckets(lengths, edges, ["empty", *ranges, f"{edges[-1]}+"])


def content(has_content: np.ndarray) -> pd.Categorical:
    """ "with" or "without" content, from bool [n]."""
    return pd.Categorical.from_codes(has_content.astype(np.int8), ["without", "with"])


def user(known: np.ndarray) -> pd.Categorical:
    """ "known" users have an ID of their own, "new" ones share one; from bool [n]."""
    return pd.Categorical.from_codes(known.astype(np.int8), ["new", "known"])


def bucket_order(bucket: str) -> int:
    """Sort key of a bucket among those of its column: rising, "with" before "without"."""
    return _NAMED_ORDER[bucket] if bucket in _NAMED_ORDER else int(bucket.rstrip("+").split("-")[0])


def _buckets(values: np.ndarray, lower_edges: list[int], labels: list[str]) -> pd.Categorical:
    """A value on an edge belongs to the bucket above it."""
    return pd.Categorical.from_codes(np.searchsorted(lower_edges, values, side="right"), labels)
