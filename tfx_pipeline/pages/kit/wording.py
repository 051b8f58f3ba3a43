"""Numbers as they are read on a page."""

from __future__ import annotations

import datetime as dt
import math


def count(number: float) -> str:
    """A whole number, thousands apart."""
    return f"{number:,.0f}"


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 in percent."""
    return f"{100 * share:.{digits}f}\u00a0%"


def decimal(number: float | None, digits: int = 4) -> str:
    """A number; a dash where there is none."""
    return "–" if number is None or not math.isfinite(number) else f"{number:.{digits}f}"


def signed(number: float | None, digits: int = 4) -> str:
    """A difference, with its sign; a dash where there is none."""
    return "–" if number is None or not math.isfinite(number) else f"{number:+.{digits}f}"


def between(bounds: tuple[float, float] | None, digits: int = 4) -> str:
    """An interval; nothing where there is none."""
    if bounds is None or not all(map(math.isfinite, bounds)):
        return ""
    return f"{bounds[0]:.{digits}f} to {bounds[1]:.{digits}f}"


def moment(time: str | None) -> str:
    """ISO 8601 to the minute; a dash where there is none."""
    return "–" if time is None else time[:16].replace("T", " ")


def since_epoch(milliseconds: int) -> str:
    """Milliseconds since 1970 as date and time, UTC."""
    return f"{dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC):%Y-%m-%d %H:%M} UTC"


def size(number: float) -> str:
    """Bytes in the largest unit that leaves a number of at least 1."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number:.0f} bytes"


def listed(names: list[str]) -> str:
    """Names with commas and an "and"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "none"
