"""`dmf compare`."""

from __future__ import annotations

import argparse

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import comma_separated, count, output_file
from tfx_pipeline.cli.options import Commands, add_config, add_overrides, configuration


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "compare",
        help="train several models on the same examples and compare them on the test split",
        description="Trains every model with every seed on the same examples; early stopping looks at the eval split, "
        "the test split is scored once, after training. What is finished is not trained again.",
    )
    add_config(parser)
    parser.add_argument(
        "--models",
        type=comma_separated,
        metavar="A,B,C",
        help="of the registry, each with @MODALITY[+MODALITY] for some of the modalities only, and with ~items, "
        "~candidates, ~ages or ~sequences to go without these columns, ages or further histories; default: those of "
        "`comparison.models`, else all",
    )
    parser.add_argument("--seeds", type=count, metavar="K", help="trainings per model; default: comparison.seeds")
    parser.add_argument(
        "--reference", metavar="MODEL", help="that the others are compared with; default: comparison.reference"
    )
    parser.add_argument(
        "--catalogue",
        action="store_true",
        help="also rank every item of the catalogue for each request of the test split: HR, NDCG and MRR of the whole "
        "catalogue",
    )
    parser.add_argument("--json", type=output_file, metavar="FILE", help="also write the report to FILE")
    add_overrides(parser)
    parser.set_defaults(command=run, resumes=True)


def run(parsed: argparse.Namespace) -> int:
    """Compares models and prints the report; returns the exit status."""
    from tfx_pipeline.console import console
    from tfx_pipeline.files.writing import write_json
    from tfx_pipeline.studies.compare.comparison import PAGE, REPORT, compare, comparison_folder
    from tfx_pipeline.studies.compare.tables import print_report

    config = configuration(parsed)
    report = compare(config, parsed.models, parsed.seeds, parsed.reference, parsed.catalogue)
    if parsed.json is not None:
        write_json(parsed.json, report.to_json())
    out = console()
    print_report(report, out)
    folder = comparison_folder(config)
    for name, file in (("report", folder / REPORT), ("page", folder / PAGE)):
        out.print(f"{name}: {file}", highlight=False, soft_wrap=True)
    return exit_status.OK
