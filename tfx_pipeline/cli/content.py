"""`dmf content evaluate`."""

from __future__ import annotations

import argparse

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import output_file
from tfx_pipeline.cli.options import Commands, add_config, add_group, add_overrides, configuration


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    group = add_group(commands, "content", "look at the vectors of items")
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
