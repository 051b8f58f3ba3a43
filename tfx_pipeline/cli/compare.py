"""`dmf compare` on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tfx_pipeline.cli.arguments import count, output_file


def add_command(commands: Any) -> None:
    """Adds it to the sub-parsers `commands`. What it needs is imported when it runs."""
    command = commands.add_parser(
        "compare",
        help="train several models on the same examples and compare them on the test split",
        description="Trains every model with every seed on the same examples; early stopping looks at the eval split, "
        "the test split is scored once, after training. What is finished is not trained again.",
    )
    command.add_argument("--config", type=Path, default=Path("pipeline_config.yaml"), metavar="FILE")
    command.add_argument(
        "--models",
        metavar="A,B,C",
        help="of the registry, each with @MODALITY[+MODALITY] for some of the modalities only; default: those of "
        "`comparison.models`, else all",
    )
    command.add_argument("--seeds", type=count, metavar="K", help="trainings per model; default: comparison.seeds")
    command.add_argument(
        "--reference", metavar="MODEL", help="that the others are compared with; default: comparison.reference"
    )
    command.add_argument("--json", type=output_file, metavar="FILE", help="also write the report to FILE")
    command.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="override a key of the configuration; may be repeated",
    )
    command.set_defaults(command=_compare)


def _compare(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.config import load_config
    from tfx_pipeline.console import console
    from tfx_pipeline.files.writing import write_json
    from tfx_pipeline.studies.compare.comparison import PAGE, REPORT, compare, comparison_folder
    from tfx_pipeline.studies.compare.tables import print_report

    config = load_config(parsed.config, parsed.overrides)
    models = [name.strip() for name in parsed.models.split(",")] if parsed.models is not None else None
    report = compare(config, models, parsed.seeds, parsed.reference)
    if parsed.json is not None:
        write_json(parsed.json, report.to_json())
    out = console()
    print_report(report, out)
    folder = comparison_folder(config)
    for name, file in (("report", folder / REPORT), ("page", folder / PAGE)):
        out.print(f"{name}: {file}", highlight=False, soft_wrap=True)
    return 0
