"""The features that Transform writes, and its vocabularies. No other file spells these names.

Raw features are those of `tfx_pipeline.data.examples.raw_features`; the dense tensors of a model those of
`dmf_keras.models.inputs`.
"""

from __future__ import annotations

# Indices are 1-based: 0 is padding. Item ids stay beside them for the content lookup, which covers the whole catalogue
# and not only what was trained on.
USER_INDEX = "user_index"
HISTORY_INDEX = "history_index"
CANDIDATE_INDEX = "candidate_index"
HISTORY_ITEM = "history_item"
HISTORY_AGE = "history_age"
CANDIDATE_ITEM = "candidate_item"
LABEL = "candidate_label"
# And the objective's name, for those beside the main one.
LABEL_PREFIX = "candidate_label/"
WEIGHT = "candidate_weight"
# Each has one value for every candidate; so have candidate columns.
OF_CANDIDATES = frozenset({CANDIDATE_INDEX, CANDIDATE_ITEM, LABEL, WEIGHT})

# Vocabulary names inside the transform graph.
ITEM_VOCABULARY = "items"
USER_VOCABULARY = "users"
# Every item of the train split with its number of impressions; the Evaluator's slices use it.
ITEM_COUNTS = "item_counts"


def of_further_history(feature: str, history: str) -> str:
    """`HISTORY_INDEX`, `HISTORY_ITEM` or `HISTORY_AGE` of a further history."""
    return f"{feature}/{history}"


def transformed_column(name: str) -> str:
    """Transformed name of a column: int64 indices or a float32 value, per request or per candidate."""
    return f"{name}_x"


def column_vocabulary(name: str) -> str:
    """Vocabulary name of a categorical column."""
    return f"column_{name}"
