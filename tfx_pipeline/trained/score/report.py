"""What `dmf score` tells of its work, as `--json` prints it and as a table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rich.table import Table

from tfx_pipeline.console import Console, console, task_column
from tfx_pipeline.files.json_record import JsonRecord

# Is told what is done, and how many rows of how many (None: that is not known) it has come to.
Watch: TypeAlias = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class ScoreReport(JsonRecord):
    """What became of a log. `rows_read` = `rows_kept` + all of `quarantined` + `repeated`; where a row is a list,
    `impressions_read` = `rows_kept` + `repeated`.

    Attributes:
        model: path of the version.
        log: what was scored.
        output: the file of scores.
        quarantine: the file of rows that cannot be used; None: there are none.
        rows_read: rows of the log.
        impressions_read: those of its good rows, where a row is a list of them; None where it is one.
        rows_kept: rows of the output.
        quarantined: rows set aside, by the first fault found in each; reasons without a row are left out.
        repeated: rows, or impressions of lists, of an item that its request has already.
        not_a_number: values that became missing, by numeric column.
        requests: that were scored.
        requests_without_history: those of them with an empty history.
        users: of the log.
        users_without_profile: those of them that the user table lacks; 0 where the model has none.
        rows_of_unknown_items: rows of the output whose item the model's catalogue lacks.
        seconds: of each part of the work: load, read, score, write.
        requests_per_second: requests by the sum of these.
    """

    model: str
    log: str
    output: str
    quarantine: str | None
    rows_read: int
    impressions_read: int | None
    rows_kept: int
    quarantined: Mapping[str, int]
    repeated: int
    not_a_number: Mapping[str, int]
    requests: int
    requests_without_history: int
    users: int
    users_without_profile: int
    rows_of_unknown_items: int
    seconds: Mapping[str, float]
    requests_per_second: float


def print_report(report: ScoreReport, target: Console) -> None:
    """The report as a table."""
    table = Table(title=f"scores of {report.log}", title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _facts(report):
        table.add_row(name, value)
    target.print(table)
    target.print(f"{report.output}: {report.rows_kept:,} rows", highlight=False, soft_wrap=True)
    if report.quarantine is not None:
        target.print(f"{report.quarantine}: the rows that cannot be used", highlight=False, soft_wrap=True)


def _facts(report: ScoreReport) -> Iterator[tuple[str, str]]:
    lists = f", {report.impressions_read:,} impressions in them" if report.impressions_read is not None else ""
    yield "rows read", f"{report.rows_read:,}{lists}"
    yield "rows kept", f"{report.rows_kept:,}, {report.rows_of_unknown_items:,} of items that the catalogue lacks"
    by_reason = ", ".join(f"{reason} {count:,}" for reason, count in report.quarantined.items())
    yield "quarantined", by_reason or "none"
    yield "repeated", f"{report.repeated:,} of an item that its request has already"
    for column, count in report.not_a_number.items():
        yield "not a number", f"{count:,} values of {column}, taken for missing"
    yield "requests", f"{report.requests:,}, {report.requests_without_history:,} with an empty history"
    yield "users", f"{report.users:,}, {report.users_without_profile:,} without a profile"
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in report.seconds.items())
    yield "seconds", f"{parts}; {report.requests_per_second:,.0f} requests/s"
    yield "model", report.model


@contextlib.contextmanager
def progress_line() -> Iterator[Watch]:
    """A line on the console that says what is done and how far it is; none where there is no terminal."""
    from rich.progress import BarColumn, Progress, TimeRemainingColumn

    columns = (task_column("{task.description}"), BarColumn(), task_column("{task.completed:,.0f} rows"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console(), transient=True, disable=not console().is_terminal
    ) as progress:
        task = progress.add_task("loading the model", total=None)
        doing = ""

        def watch(what: str, done: int, of: int | None) -> None:
            nonlocal doing
            if what != doing:
                progress.reset(task, description=what)
                doing = what
            progress.update(task, completed=done, total=of)

        yield watch
