"""`dmf compile`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import output_file
from tfx_pipeline.cli.options import Commands, add_config, add_overrides, configuration


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "compile",
        help="write the pipeline as a file that Kubeflow or Vertex runs",
        description="Compiles the pipeline that `dmf run` runs here, with the section `kubeflow` of the configuration. "
        "Reads no data and asks no cluster.",
    )
    add_config(parser)
    parser.add_argument(
        "--runner",
        choices=["kubeflow", "vertex"],
        default="kubeflow",
        help="kubeflow: a YAML of KFP v2; vertex: the JSON of a PipelineJob; default: kubeflow",
    )
    parser.add_argument("-o", "--output", type=output_file, required=True, metavar="FILE", help="written whole")
    add_overrides(parser)
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Compiles and says what a run may set; returns the exit status."""
    from tfx_pipeline.console import console, lines, quiet_libraries
    from tfx_pipeline.files.output_folder import set_up_libraries

    config = configuration(parsed)
    set_up_libraries()
    with quiet_libraries(Path(os.devnull)):
        with console().status("loading libraries"):
            from tfx_pipeline.runners.kubeflow.compile import write_compiled
        compiled = write_compiled(config, parsed.runner, parsed.output)
    said = [
        f"{parsed.output}: pipeline {compiled.name} for {parsed.runner}, {len(compiled.steps)} steps",
        *(f"  parameter {name}, default {value}" for name, value in sorted(compiled.parameters.items())),
    ]
    if compiled.elsewhere:
        said.append(f"outside of kubeflow.data_dir, and needed where they are: {', '.join(compiled.elsewhere)}")
    console().print(lines(*said), highlight=False, soft_wrap=True)
    return exit_status.OK
