"""A replay for the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from tfx_pipeline.console import Console
from tfx_pipeline.trained.replay.report import DifferentRequest, ReplayReport
from tfx_pipeline.trained.version import Version

_SHOWN = 20


def print_replay(report: ReplayReport, target: Console) -> None:
    """The comparison as tables."""
    target.print(_stages_table(report))
    if report.equal:
        target.print(f"equal at every stage, to {report.tolerance:g}", highlight=False)
        return
    target.print(_requests_table(report.requests[:_SHOWN]))
    if len(report.requests) > _SHOWN:
        target.print(f"and {len(report.requests) - _SHOWN:,} more", highlight=False)
    others = {request.captured_version for request in report.requests} - {Version(Path(report.model)).number}
    known = sorted(version for version in others if version is not None)
    if known:
        versions = ", ".join(map(str, known))
        target.print(f"captured from version {versions}, whose answers may well be others", highlight=False)


def _stages_table(report: ReplayReport) -> Table:
    table = Table(title=f"{report.count:,} requests of {report.file}", title_justify="left")
    table.add_column("stage")
    for column in ("requests", "different", "largest difference"):
        table.add_column(column, justify="right")
    for stage, counts in report.stages.items():
        if counts.requests:
            largest = f"{counts.largest_difference:.1e}"
            table.add_row(stage, f"{counts.requests:,}", f"{counts.different:,}", largest)
    return table


def _requests_table(requests: list[DifferentRequest]) -> Table:
    table = Table(title="first stage that differs", title_justify="left")
    for column in ("request", "signature", "stage", "difference", "what"):
        table.add_column(column, overflow="fold")
    for request in requests:
        difference = "" if request.difference is None else f"{request.difference:.3g}"
        table.add_row(str(request.request), request.signature, request.stage, difference, request.detail)
    return table
