"""What commands write to standard output."""

from __future__ import annotations

import json
import sys
from typing import Any


def print_json(values: dict[str, Any]) -> None:
    """One JSON object."""
    sys.stdout.write(json.dumps(values, indent=1) + "\n")
