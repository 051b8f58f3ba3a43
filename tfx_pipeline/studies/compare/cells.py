"""Cells of the tables of a comparison: figures over seeds, and differences to the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfx_pipeline.console import lines, styled
from tfx_pipeline.studies.compare.report import Difference, Statistic

if TYPE_CHECKING:
    from rich.text import Text

ONE_SEED = (
    "Every model was trained with one seed, so that nothing is decided: another seed may turn a difference round. "
    "Train with --seeds 3 or more."
)
_STYLES = {"ahead": "green", "behind": "red", "undecided": "", "one seed": ""}


def spread(statistic: Statistic | None, digits: int = 4) -> str:
    """Mean ± standard deviation; a dash where there is no answer."""
    if statistic is None or statistic.mean is None:
        return "-"
    deviation = "" if statistic.std is None else f" ± {statistic.std:.{digits}f}"
    return f"{statistic.mean:.{digits}f}{deviation}"


def difference(value: Difference | None, *, below: bool = False) -> Text:
    """A mean with its interval, beside or below it, in the colour of its verdict."""
    if value is None or value.mean is None:
        return styled("-")
    parts = [f"{value.mean:+.4f}"]
    if value.low is not None and value.high is not None:
        parts.append(f"[{value.low:+.4f}, {value.high:+.4f}]")
    style = _STYLES[value.verdict]
    return lines(*(styled((part, style)) for part in parts)) if below else styled((" ".join(parts), style))


def number(value: float | None) -> str:
    """Four digits."""
    return "-" if value is None else f"{value:.4f}"


def whole(value: float | None) -> str:
    """Without decimals."""
    return "-" if value is None else f"{value:,.0f}"
