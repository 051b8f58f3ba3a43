"""`dmf content list`, `show`, `evaluate` and `refresh`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count, item_ids, output_file
from tfx_pipeline.cli.options import Commands, add_config, add_group, add_overrides, add_run, configuration

if TYPE_CHECKING:
    from tfx_pipeline.config.schema import PipelineConfig


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    group = add_group(commands, "content", "look at the content of items, and bring a served model up to date")
    _add_list(group)
    _add_show(group)
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


def _add_list(group: Commands) -> None:
    parser = group.add_parser(
        "list",
        help="which vectors of items there are",
        description="Reads the catalogue and the files of vectors, and says of each modality what made it and when, "
        "how much of the catalogue it covers, and how many items have a text that is new or changed.",
    )
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_overrides(parser)
    parser.set_defaults(command=_run_list)


def _add_show(group: Commands) -> None:
    parser = group.add_parser(
        "show",
        help="the items whose vectors are nearest to that of an item",
        description="Reads the catalogue and the files of vectors at their full width, and prints the nearest items by "
        "cosine, for each modality.",
    )
    add_config(parser)
    parser.add_argument("--items", type=item_ids, required=True, metavar="A,B,C", help="item ids")
    parser.add_argument("--neighbours", type=count, default=5, metavar="N", help="how many; default: 5")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_overrides(parser)
    parser.set_defaults(command=_run_show)


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


def _run_list(parsed: argparse.Namespace) -> int:
    """Prints what there is of each modality; returns the exit status."""
    import sys

    from tfx_pipeline.cli.output import print_json
    from tfx_pipeline.console import console, console_on
    from tfx_pipeline.data.encoding.inventory import stored_modalities
    from tfx_pipeline.data.encoding.inventory_view import print_stored

    config = _with_content(parsed)
    with console().status("reading vectors"):
        found = stored_modalities(config)
    if parsed.json:
        print_json({"modalities": [one.to_json() for one in found]})
    else:
        print_stored(found, console_on(sys.stdout))
    return exit_status.OK


def _run_show(parsed: argparse.Namespace) -> int:
    """Prints the nearest items of some; returns the exit status."""
    import sys

    from tfx_pipeline.cli.output import print_json
    from tfx_pipeline.console import console, console_on
    from tfx_pipeline.data.encoding.inventory import show_items
    from tfx_pipeline.data.encoding.inventory_view import print_items

    config = _with_content(parsed)
    with console().status("reading vectors"):
        found = show_items(config, parsed.items, parsed.neighbours)
    if parsed.json:
        print_json({"items": [one.to_json() for one in found]})
    else:
        print_items(found, console_on(sys.stdout))
    return exit_status.OK


def _with_content(parsed: argparse.Namespace) -> PipelineConfig:
    """The configuration, which must have content."""
    from tfx_pipeline.errors import ConfigError

    config = configuration(parsed)
    if not config.content.modalities:
        raise ConfigError("content.modalities: there are none, and so no vectors; see docs/DATA.md")
    return config
