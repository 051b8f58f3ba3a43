"""What commands write to standard output."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

_PLAIN_WIDTH = 140


def print_json(values: dict[str, Any]) -> None:
    """One JSON object."""
    sys.stdout.write(json.dumps(values, indent=1) + "\n")


def wide_console() -> Console:
    """Standard output, wide enough for broad tables where there is no terminal."""
    return Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
