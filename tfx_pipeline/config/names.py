"""Names that a configuration gives: of columns, modalities and histories."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from dmf_keras.models.inputs import RESERVED as MODEL_INPUTS

# What the examples and the model themselves use; a column or modality of that name would overwrite it.
RESERVED_COLUMNS = frozenset(
    {
        "user_id",
        "history_item_id",
        "candidate_item_id",
        "candidate_weight",
        "label",
        "request_time_us",
        "split",
        "score",
        *MODEL_INPUTS,
    }
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def check_names(named: dict[str, Any], reserved: Collection[str] = RESERVED_COLUMNS, hint: str = "") -> dict[str, Any]:
    """Refuses names that are no words, or that mean something else.

    Args:
        named: what has a name.
        reserved: names that are taken.
        hint: what to say after that a name is no word.

    Returns:
        `named`.

    Raises:
        ValueError: with the name and what is expected.
    """
    for name in named:
        if name in reserved:
            raise ValueError(f"'{name}' is reserved; reserved names: {', '.join(sorted(reserved))}")
        if not _NAME.fullmatch(name):
            raise ValueError(f"'{name}' must be letters, digits and underscores and begin with a letter{hint}")
    return named
