"""`dmf report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.options import Commands
from tfx_pipeline.console import Console


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "report", help="one HTML page about a run: data, learning curves, metrics, what content does, lineage"
    )
    parser.add_argument("run", type=Path, metavar="OUTPUT", help="the output folder of `dmf run`")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of the page; default: OUTPUT/report.html")
    parser.add_argument(
        "--latency", type=Path, metavar="FILE", help="what `dmf bench serving --json` printed, to be shown with it"
    )
    parser.add_argument(
        "--retrieval", type=Path, metavar="FILE", help="what `dmf retrieval evaluate --json` wrote, to be shown with it"
    )
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Writes the page of a run; returns the exit status."""
    from tfx_pipeline.console import console, quiet_libraries

    with quiet_libraries(Path("/dev/null")):
        with console().status("loading libraries"):
            from tfx_pipeline.pages.run.report_page import write_report
            from tfx_pipeline.pages.run.retrieval_evaluation import read_evaluation
            from tfx_pipeline.pages.run.serving_section import read_latency
        latency = read_latency(parsed.latency) if parsed.latency is not None else None
        retrieval = read_evaluation(parsed.retrieval) if parsed.retrieval is not None else None
        path = write_report(parsed.run, parsed.out, latency, retrieval)
    size = path.stat().st_size / 1e6
    Console().print(f"{path} ({size:.1f} MB): open it in a browser", highlight=False, soft_wrap=True)
    return exit_status.OK
