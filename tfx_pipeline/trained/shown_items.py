"""Items for a reader: what a ranking and a page out of the catalogue have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from rich.table import Table

from serving import contract
from tfx_pipeline.trained.version import Version


def probabilities(version: Version, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each objective float [N], in the order of the contract; none where there is one alone."""
    names = {name: contract.SCORE_PREFIX + name for name in version.contract.objectives}
    return {name: outputs[output] for name, output in names.items() if output in outputs}


def without_empty_objectives(values: dict[str, Any], items: str) -> dict[str, Any]:
    """The same values, whose entry `items` is a list of them, without `objectives` where there is one alone."""
    for entry in values[items]:
        if not entry["objectives"]:
            del entry["objectives"]
    return values


class Shown(Protocol):
    """An item of a table: of a ranking, or of a page."""

    @property
    def item(self) -> str:
        """Its id."""
        ...

    @property
    def score(self) -> float:
        """Of the ranker."""
        ...

    @property
    def title(self) -> str | None:
        """From the catalogue; None where that has none."""
        ...

    @property
    def train_impressions(self) -> int:
        """How often it was shown in the train split."""
        ...

    @property
    def has_content(self) -> bool:
        """Whether it has content in at least one modality."""
        ...

    @property
    def objectives(self) -> Mapping[str, float]:
        """Probability of each objective; empty: there is one alone."""
        ...


Entry = TypeVar("Entry", bound=Shown)


def item_table(
    user: str,
    history: Sequence[str],
    source: str,
    entries: Sequence[Entry],
    further: Mapping[str, Callable[[Entry], str]] | None = None,
) -> Table:
    """Items for a reader, best first.

    Args:
        user: user id.
        history: item ids.
        source: of the history, in words.
        entries: the items.
        further: columns beside those that every item has: header, and what stands there.
    """
    columns = further or {}
    table = Table(title=f"user {user}, history of {len(history)} items ({source})", title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("item")
    table.add_column("score", justify="right")
    objectives = list(entries[0].objectives) if entries else []
    for name in (*objectives, *columns):
        table.add_column(name, justify="right")
    with_titles = any(entry.title for entry in entries)
    if with_titles:
        table.add_column("title", overflow="ellipsis", max_width=48)
    table.add_column("impressions in train", justify="right")
    table.add_column("content")
    for position, entry in enumerate(entries, start=1):
        row = [str(position), entry.item, f"{entry.score:.4f}"]
        row += [f"{entry.objectives[name]:.4f}" for name in objectives]
        row += [shown(entry) for shown in columns.values()]
        row += [entry.title or ""] if with_titles else []
        table.add_row(*row, f"{entry.train_impressions:,}", "yes" if entry.has_content else "no")
    return table
