"""How the log writes its times: a unit of numbers, ISO 8601, or a format of your own."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

UNITS = ("s", "ms", "us", "ns", "iso8601")
_DIRECTIVE = re.compile(r"%(.?)")
# Of strptime: those that say the same to C's and to Python's.
_KNOWN = "YymdbBHIMSpz%"
_NEEDED = {"a year (%Y)": "Yy", "a month (%m)": "mbB", "a day (%d)": "d"}


def is_format(unit: str) -> bool:
    """Whether a checked `TimeUnit` is a format of strptime."""
    return "%" in unit


def _known(unit: str) -> str:
    if unit in UNITS:
        return unit
    if not is_format(unit):
        *units, last = (f"'{name}'" for name in UNITS)
        raise ValueError(f"should be {', '.join(units)} or {last}, or a format such as '%m/%d/%Y %I:%M:%S %p'")
    directives = _DIRECTIVE.findall(unit)
    for directive in directives:
        if directive not in _KNOWN or not directive:
            known = " ".join(f"%{one}" for one in _KNOWN)
            raise ValueError(f"a format of times knows {known}, not %{directive}; ISO 8601 is 'iso8601'")
    for what, alternatives in _NEEDED.items():
        if not set(alternatives) & set(directives):
            raise ValueError(f"a format of times needs {what}")
    if ("I" in directives) != ("p" in directives):
        raise ValueError("a format of times has %I (hours to 12) and %p (AM or PM) together, or %H alone")
    return unit


TimeUnit = Annotated[str, AfterValidator(_known)]
