"""The raw features of a request: one `tf.Example` is one request, in the examples as on the wire.

No other file spells these names; those that clients see too come from `serving.contract`.
"""

from __future__ import annotations

from collections.abc import Collection

from serving.contract import CANDIDATE_ITEM_ID as CANDIDATE_ITEM_ID
from serving.contract import HISTORY_AGE as HISTORY_AGE
from serving.contract import HISTORY_ITEM_ID as HISTORY_ITEM_ID
from serving.contract import USER_ID as USER_ID
from serving.contract import further_history_ages as further_history_ages
from serving.contract import further_history_items as further_history_items
from serving.contract import further_history_of as further_history_of

# Histories and candidates are var-len lists: oldest first, and in the order shown. Ages are as many as history items.
LABEL = "label"
# And the objective's name: labels of the objectives beside the main one, int64.
LABEL_PREFIX = "label/"
# And the history's name: of a row of the log, whether it is an event of that further history.
OF_HISTORY_PREFIX = "of_history/"
# Of each candidate in training, float32; only where the log has them.
WEIGHT = "candidate_weight"
# About the request, never an input of the model: int64 microseconds since the epoch, and the split's name.
REQUEST_TIME = "request_time_us"
SPLIT = "split"


def has_history_ages(features: Collection[str], columns: Collection[str]) -> bool:
    """Whether requests of these raw features have ages of history items.

    Args:
        features: names of all.
        columns: names that the configuration gives; where there are no ages, one of them may be theirs.
    """
    return HISTORY_AGE in features and HISTORY_AGE not in columns
