"""Values and moments as JSON has them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any


def now() -> str:
    """The present moment to the second, ISO 8601 in UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """The same for JSON, which does not know NaN: None."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
