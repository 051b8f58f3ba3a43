"""An explanation for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.measure import Measurement
from rich.table import Table

from tfx_pipeline.console import Console, lines, styled
from tfx_pipeline.trained.explain.report import Explanation, HistoryItem, part_in_words

if TYPE_CHECKING:
    from rich.text import Text

_SHOWN = 20
_BAR = 10
_LONGEST_TITLE = 24
_LEFT = ("item", "title", "when", "")
# Columns to leave out, in this order, where the terminal is narrow; the one without a name has the bars.
_OPTIONAL = ("when", "", "by head", "title", "ago")


def print_explanation(found: Explanation, target: Console) -> None:
    """The explanation as tables."""
    target.print(found.summary, highlight=False)
    if found.parts:
        target.print(_parts_table(found))
    if found.history:
        target.print(_history_table(found, target))
        if len(found.history) > _SHOWN:
            target.print(f"and {len(found.history) - _SHOWN:,} more: --json has all", highlight=False)
    for note in found.notes:
        target.print(f"note: {note}", highlight=False, soft_wrap=True)
    target.print(f"model: {found.model}", soft_wrap=True, highlight=False)


def _parts_table(found: Explanation) -> Table:
    title = f" ({found.title})" if found.title else ""
    table = Table(
        title=f"{found.candidate}{title} for {found.user}: logit {found.logit:+.3f} in parts",
        title_justify="left",
    )
    table.add_column("part")
    table.add_column("contribution", justify="right")
    table.add_column("")
    table.add_column("logit without it", justify="right")
    longest = max(abs(part.contribution) for part in found.parts)
    table.add_row("nothing known", f"{found.base_logit:+.3f}", "", "")
    for part in found.parts:
        name = part_in_words(part.part)
        bar = _bar(part.contribution, longest)
        table.add_row(name, f"{part.contribution:+.3f}", bar, f"{part.logit_without:+.3f}")
    table.add_section()
    table.add_row("sum", f"{found.logit:+.3f}", "", "")
    return table


def _history_table(found: Explanation, target: Console) -> Table:
    """As much of it as the terminal is wide enough for: half a number would be none."""
    columns = dict(_columns(found, found.history[:_SHOWN]))
    unlimited = target.options.update(width=sys.maxsize)
    for count in range(len(_OPTIONAL) + 1):
        shown = {header: cells for header, cells in columns.items() if header not in _OPTIONAL[:count]}
        table = Table(title=f"history of {len(found.history)} items ({found.history_source})", title_justify="left")
        for header in shown:
            table.add_column(lines(*header.split("\n")), justify="left" if header in _LEFT else "right", no_wrap=True)
        for row in zip(*shown.values(), strict=True):
            table.add_row(*row)
        if Measurement.get(target, unlimited, table).maximum <= target.width:
            break
    return table


def _columns(found: Explanation, entries: list[HistoryItem]) -> Iterator[tuple[str, list[str | Text]]]:
    yield "item", [entry.item for entry in entries]
    if any(entry.title for entry in entries):
        yield "title", [_short(entry.title or "") for entry in entries]
    if entries[0].time is not None:
        yield "when", [(entry.time or "")[:16].replace("T", " ") for entry in entries]
    yield "ago", [str(entry.position) for entry in entries]
    if found.weights:
        longest = max(abs(entry.weight or 0.0) for entry in found.history)
        yield found.weights, [f"{entry.weight:.3f}" for entry in entries]
        yield "", [_bar(entry.weight or 0.0, longest) for entry in entries]
        if len(entries[0].weight_by_head or ()) > 1:
            yield "by head", [" ".join(f"{weight:.2f}" for weight in entry.weight_by_head or ()) for entry in entries]
    for modality in entries[0].similarity:
        pairs = [entry.similarity[modality] for entry in entries]
        yield (
            f"cosine\n{modality}",
            ["no content" if p is None else f"{p.cosine:+.2f} ({p.bucket})" for p in pairs],
        )
    yield "score\nwithout", [f"{entry.score_without:.4f}" for entry in entries]
    yield "effect", [f"{entry.effect:+.3f}" for entry in entries]
    yield "by\neffect", [f"{entry.rank_by_effect}." for entry in entries]


def _bar(value: float, longest: float) -> Text:
    """As long as the value, red below 0."""
    length = round(_BAR * abs(value) / longest) if longest else 0
    return styled(("█" * length, "red" if value < 0 else "green"))


def _short(title: str) -> str:
    return title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"
