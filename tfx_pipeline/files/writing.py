"""Files that appear whole, and values and moments as JSON has them."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
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


def write_text(file: str | os.PathLike[str], text: str) -> None:
    """Writes a file, by atomic rename; its folder is made where it is not there.

    Raises:
        OSError: the folder may not be written.
    """
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, file)


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Writes values as `plain` has them, by atomic rename."""
    write_text(file, json.dumps(plain(values), indent=1, allow_nan=False) + "\n")
