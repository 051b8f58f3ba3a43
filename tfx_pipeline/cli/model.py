"""Sub-commands about an exported model: `dmf model inspect` and `dmf replay`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tfx_pipeline.cli.arguments import positive

_MODEL = "a version, or the folder of versions"


def add_model_commands(commands: Any) -> None:
    """Adds them to the sub-parsers `commands`. What they need is imported when they run."""
    model = commands.add_parser("model", help="look at an exported model")
    model_commands = model.add_subparsers(dest="model_command", required=True, metavar="COMMAND")
    inspect = model_commands.add_parser(
        "inspect", help="signatures, sizes, metrics, training data and versions of a model"
    )
    inspect.add_argument("model", type=Path, metavar="DIR", help=_MODEL)
    inspect.add_argument("--json", action="store_true", help="print JSON instead of tables")
    inspect.set_defaults(command=_inspect)

    replay = commands.add_parser(
        "replay",
        help="score captured requests again in Keras and through the exported model; exit status 1 if they differ",
    )
    replay.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="TFRecords of PredictionLog, or JSON lines (.jsonl); default: the model's warm-up requests",
    )
    replay.add_argument("--model", type=Path, required=True, metavar="DIR", help=_MODEL)
    replay.add_argument(
        "--run", type=Path, metavar="OUTPUT", help="output folder of the run that trained it, if it was moved"
    )
    replay.add_argument(
        "--tolerance", type=positive, default=1e-4, metavar="X", help="allowed difference; default: 0.0001"
    )
    replay.add_argument("--json", action="store_true", help="print JSON instead of tables")
    replay.set_defaults(command=_replay)


def _inspect(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.trained.inspection import inspect_from_command_line

    return inspect_from_command_line(parsed.model, as_json=parsed.json)


def _replay(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.trained.replay.command import replay_from_command_line

    return replay_from_command_line(
        parsed.model, parsed.file, run=parsed.run, tolerance=parsed.tolerance, as_json=parsed.json
    )
