"""What vectors of items there are, printed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from tfx_pipeline.console import Console, lines
from tfx_pipeline.data.encoding.inventory import ItemVectors, StoredModality

_SHORT = 16


def print_stored(found: Sequence[StoredModality], out: Console) -> None:
    """A row for each modality, and where the files lie."""
    table = Table(title=f"vectors of {found[0].items:,} items", title_justify="left")
    for heading in ("modality", "made by", "encoder", "written"):
        table.add_column(heading)
    for heading in ("width", "vectors", "of the catalogue", "of no item", "to encode", "MiB"):
        table.add_column(heading, justify="right")
    for one in found:
        width = "" if one.width is None else str(one.width)
        table.add_row(
            one.name,
            one.made_by or "given",
            (one.encoder or "")[:_SHORT] if one.there else "not there yet",
            "" if one.written is None else one.written.replace("T", " ").removesuffix("+00:00"),
            width if one.dim is None else f"{width}, reduced to {one.dim}",
            f"{one.vectors:,}",
            f"{one.covered / max(one.items, 1):.1%}",
            f"{one.unknown:,}",
            "" if one.to_encode is None else f"{one.to_encode:,}",
            f"{one.bytes / 2**20:,.1f}",
        )
    out.print(table)
    for one in found:
        out.print(f"{one.name}: {one.path}", highlight=False, soft_wrap=True)
        if one.exchanged:
            out.print(
                f"{one.name}: another encoder ({one.configured}) is configured than made these vectors; `dmf encode` "
                "makes all of them anew, and a model that has learned from these wants `dmf run`",
                highlight=False,
                soft_wrap=True,
            )
    if any(one.to_encode for one in found):
        out.print(
            "to encode: items of whose text the configured encoder has made no vector; `dmf encode` makes them",
            highlight=False,
        )


def print_items(found: Sequence[ItemVectors], out: Console) -> None:
    """A table for each item: the nearest others by each modality."""
    for one in found:
        table = Table(title=f"{one.item}  {one.title}".rstrip(), title_justify="left")
        table.add_column("modality")
        table.add_column("cosine", justify="right")
        table.add_column("item")
        table.add_column("title")
        for name, nearest in one.nearest.items():
            if nearest is None:
                table.add_row(name, "", "no vector", "")
            elif nearest:
                cells = ([f"{near.cosine:.3f}" for near in nearest], [near.item for near in nearest])
                table.add_row(name, *(lines(*cell) for cell in cells), lines(*(near.title for near in nearest)))
        out.print(table)
