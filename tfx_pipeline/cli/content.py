"""`dmf content evaluate` and `dmf content refresh`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import output_file
from tfx_pipeline.cli.options import Commands, add_config, add_group, add_overrides, add_run, configuration


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    group = add_group(commands, "content", "look at the content of items, and bring a served model up to date")
    evaluate = group.add_parser(
        "evaluate",
        help="how much vectors say of the next click, before any ranker",
        description="Looks for the clicks of the splits eval and test among all items, by the cosine of content to the "
        "history; and compares candidates that were clicked with those that were not. Trains no ranker. Where the "
        "configuration has content.fine_tuning, tuned vectors stand beside those that they are made of.",
    )
    add_config(evaluate)
    evaluate.add_argument("--json", type=output_file, metavar="FILE", help="also write the evidence to FILE")
    add_overrides(evaluate)
    evaluate.set_defaults(command=run, resumes=True)
    refresh = group.add_parser(
        "refresh",
        help="push the served model with the catalogue of today, without training",
        description="Makes the next version of a pushed model. Its tables of items, and what retrieves from them, hold "
        "catalogue and embeddings as they are now; its weights stay. The version passes the serving gate like any "
        "other.",
    )
    add_config(refresh)
    refresh.add_argument(
        "--model", type=Path, metavar="DIR", help="folder of the versions; default: where the configuration pushes to"
    )
    add_run(refresh)
    refresh.add_argument("--dry-run", action="store_true", help="say what there is to do, and do nothing")
    refresh.add_argument("--json", type=output_file, metavar="FILE", help="also write what was done to FILE")
    add_overrides(refresh)
    refresh.set_defaults(command=_run_refresh)


def run(parsed: argparse.Namespace) -> int:
    """Counts and prints the evidence; returns the exit status."""
    import sys

    from tfx_pipeline.console import console_on
    from tfx_pipeline.files.writing import write_json
    from tfx_pipeline.studies.content import evaluate_content
    from tfx_pipeline.studies.content_view import print_evidence

    evidence = evaluate_content(configuration(parsed))
    if parsed.json is not None:
        write_json(parsed.json, evidence.to_json())
    print_evidence(evidence, console_on(sys.stdout))
    return exit_status.OK


def _run_refresh(parsed: argparse.Namespace) -> int:
    """Refreshes and says what was done; returns the exit status."""
    from tfx_pipeline.console import console, quiet_libraries
    from tfx_pipeline.files.output_folder import set_up_libraries
    from tfx_pipeline.files.writing import write_json

    config = configuration(parsed)
    set_up_libraries()
    with quiet_libraries(Path(os.devnull)), console().status("loading libraries"):
        from tfx_pipeline.trained.refresh.refresh import refresh
        from tfx_pipeline.trained.refresh.view import print_outcome, print_plan

    record = refresh(
        config,
        parsed.model,
        run=parsed.run,
        dry_run=parsed.dry_run,
        say=lambda plan: print_plan(plan, console()),
    )
    print_outcome(record, console(), dry_run=parsed.dry_run)
    if parsed.json is not None:
        write_json(parsed.json, record.to_json())
    return exit_status.NOT_PUSHED if record.problems else exit_status.OK
