"""The sub-command `dmf tune`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tfx_pipeline.cli.arguments import count, positive


def add_command(commands: Any) -> None:
    """Adds it to the sub-parsers `commands`. What it needs is imported when it runs."""
    tune = commands.add_parser(
        "tune",
        help="search for the best hyper-parameters on the eval split",
        description="Tries what `tuning.space` of the configuration says, on the eval split alone. The same command "
        "goes on where a search was stopped: finished trials are not trained again.",
    )
    tune.add_argument("--config", type=Path, default=Path("pipeline_config.yaml"), metavar="FILE")
    tune.add_argument(
        "--models",
        metavar="A,B",
        help="each with the same budget; MODEL@MODALITY+MODALITY gives it these alone; default: that of the "
        "configuration",
    )
    tune.add_argument("--trials", type=count, metavar="N", help="per model; default: tuning.trials")
    tune.add_argument("--seconds", type=positive, metavar="S", help="per model; no trial begins later")
    tune.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="override a key of the configuration; may be repeated",
    )
    tune.set_defaults(command=_tune)


def _tune(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.config import load_config
    from tfx_pipeline.studies.tune import tune

    config = load_config(parsed.config, parsed.overrides)
    models = [name.strip() for name in parsed.models.split(",")] if parsed.models is not None else None
    tune(config, models=models, trials=parsed.trials, seconds=parsed.seconds)
    return 0
