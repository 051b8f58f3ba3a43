"""What a refresh is going to do and did, as text."""

from __future__ import annotations

from pathlib import Path

from tfx_pipeline.console import Console, styled
from tfx_pipeline.trained.refresh.record import RefreshRecord


def print_plan(record: RefreshRecord, target: Console) -> None:
    """What is about to be done."""
    _line(target, f"{record.model}: version {record.of_version}, weights of {record.trained}")
    _line(target, f"items: {record.items_before:,} before, {record.items_now:,} now")
    for kind, count in (("new", record.new), ("changed", record.changed), ("removed", record.removed)):
        shown = record.examples[kind]
        more = ", ..." if count > len(shown) else ""
        _line(target, f"  {kind}: {count:,}" + (f" ({', '.join(shown)}{more})" if shown else ""))
    if record.retired:
        _line(target, f"  kept for histories alone: {record.retired:,}")
    if record.untrained_ids:
        _line(
            target,
            f"  {record.untrained_ids:,} of the new ones are in the vocabulary of ids though the catalogue of training "
            "lacked them: their rows were never trained",
        )
    for name, counts in record.content.items():
        _line(target, f"content '{name}': {counts.before:,} items before, {counts.now:,} now")
    _line(target, f"tables of content and index: {_size(record.bytes_before)} before, {_size(record.bytes_now)} now")
    if not record.anything:
        return
    if record.seconds_last is not None:
        _line(target, f"the last refresh of this model took {record.seconds_last:,.0f} s")
    elif record.index_seconds_last is not None:
        _line(target, f"making the approximate index took {record.index_seconds_last:,.1f} s in training")


def print_outcome(record: RefreshRecord, target: Console, *, dry_run: bool) -> None:
    """What was done."""
    if not record.anything:
        _line(target, "nothing has changed: nothing was pushed")
    elif dry_run:
        _line(target, "dry run: nothing was pushed")
    elif record.version is None:
        target.print(styled(("not pushed", "bold red")))
        for problem in record.problems:
            _line(target, f"  {problem}")
    else:
        if record.index_recall is not None:
            _line(target, f"approximate index: recall {record.index_recall:.4f}")
        if record.largest_difference is not None:
            _line(target, f"scores of unchanged items: at most {record.largest_difference:.1e} from those before")
        _line(target, f"took {record.seconds:,.0f} s, peak memory {record.peak_memory_mb:,} MB")
        path = Path(record.model, record.version)
        target.print(styled(("pushed", "bold green"), f" {path}"), highlight=False, soft_wrap=True)


def _line(target: Console, text: str) -> None:
    target.print(text, highlight=False, soft_wrap=True)


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MB"
