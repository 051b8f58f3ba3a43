"""`dmf synthesize`: the logs of a world, a configuration for them, and a table of what there is to be learnt."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.table import Table

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count
from tfx_pipeline.cli.options import Commands
from tfx_pipeline.console import console, console_on
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import write_text

_CONFIG = "config.yaml"
_DATA = "data"
# Of the starter configuration, whose splits the table is about.
_EVAL_FROM, _TEST_FROM = 0.8, 0.9


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "synthesize",
        help="write logs whose click probabilities are known, and a configuration for them",
        description="Writes DIR/data (logs, catalogue, embeddings, the truth) and DIR/config.yaml, unless it is there. "
        "The same arguments leave everything untouched.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument(
        "--world",
        default="mixed",
        metavar="NAME",
        help="what makes users click: interaction (of ids and content), content, mixed, hidden (in the content), "
        "position (of what is shown), funnel (clicks and purchases) or demo; default: mixed",
    )
    parser.add_argument(
        "--part",
        type=_part,
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help="share of the variance: taste, content, interaction, popularity, context, profile or noise, the others "
        "keep their proportions; or cold_items, the share of items launched late; may be repeated",
    )
    parser.add_argument("--requests", type=count, default=15_000, metavar="N", help="default: 15000")
    parser.add_argument("--users", type=count, default=1_500, metavar="N", help="default: 1500")
    parser.add_argument("--items", type=count, default=500, metavar="N", help="default: 500")
    parser.add_argument("--candidates", type=count, default=8, metavar="N", help="of a request, on average; default: 8")
    parser.add_argument("--seed", type=int, default=7, metavar="S", help="default: 7")
    parser.set_defaults(command=run)


def _part(text: str) -> tuple[str, float]:
    """NAME=SHARE."""
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be NAME=SHARE as in content=0.2, got {text!r}") from None


def run(parsed: argparse.Namespace) -> int:
    """Writes the world and prints what there is to be learnt; returns the exit status."""
    from tfx_pipeline.studies.worlds.parts import WORLDS
    from tfx_pipeline.studies.worlds.starter_config import starter_config
    from tfx_pipeline.studies.worlds.synthetic import write_demo_logs

    if parsed.world not in WORLDS:
        raise ConfigError(f"--world: there is no world {parsed.world!r}; worlds: {', '.join(WORLDS)}")
    world, parts = WORLDS[parsed.world], dict(parsed.part)
    data, config = parsed.directory / _DATA, parsed.directory / _CONFIG
    try:
        if parts:
            world = world.with_shares(parts)
        with console().status("synthetic logs") as status:
            write_demo_logs(
                data,
                world=world,
                seed=parsed.seed,
                users=parsed.users,
                items=parsed.items,
                requests=parsed.requests,
                candidates=parsed.candidates,
                progress=lambda words: status.update(f"synthetic logs: {words}"),
            )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    text = starter_config(parsed.world, world, str(config))
    kept = config.exists() and config.read_text(encoding="utf-8") != text
    if not config.exists():
        write_text(config, text)

    out = console_on(sys.stdout)
    out.print(_worth_table(data))
    sentences = [f"logs and truth in {data}", *_missed_shares(data)]
    if kept:
        sentences.append(f"{config} is kept as it was; remove it to have a new one written")
    sentences += [f"to train: dmf run --config {config}", f"to compare models: dmf compare --config {config}"]
    for sentence in sentences:
        out.print(sentence, highlight=False, soft_wrap=True)
    return exit_status.OK


def _missed_shares(data: Path) -> list[str]:
    """A sentence where the log in a folder of `write_demo_logs` has not the shares that were wanted."""
    from tfx_pipeline.studies.worlds.calibration import TOLERANCE
    from tfx_pipeline.studies.worlds.synthetic import MARKER

    written = read_json(data / MARKER)
    if written["world"]["weights"] is not None:
        return []
    wanted, measured = written["world"]["parts"], written["measured"]["shares"]
    part = max(measured, key=lambda name: abs(measured[name] - wanted[name]))
    if abs(measured[part] - wanted[part]) <= TOLERANCE:
        return []
    return [
        f"warning: the share of {part} is {measured[part]:.3f}, not {wanted[part]:g}: no weights were found that bring "
        f"every share within {TOLERANCE:g}; take more requests or users, or other shares"
    ]


def _worth_table(data: Path) -> Table:
    """Shares of the parts in a folder of `write_demo_logs`, wanted and measured, and the AUC they allow on test."""
    import datetime as dt

    import pandas as pd

    from tfx_pipeline.studies.worlds.attainable import attainable, attainable_by_part
    from tfx_pipeline.studies.worlds.synthetic import MARKER, TRUTH

    written = read_json(data / MARKER)
    times = pd.read_parquet(data / TRUTH, columns=["time_us"])["time_us"]
    cuts = [dt.datetime.fromtimestamp(times.quantile(share) / 1e6, dt.UTC) for share in (_EVAL_FROM, _TEST_FROM)]
    worth, best = attainable_by_part(data, *cuts)["test"], attainable(data, *cuts)["test"]
    wanted, measured = written["world"]["parts"], written["measured"]["shares"]
    table = Table(title=f"test AUC that can be attained: {best.auc:.4f}, GAUC {best.gauc:.4f}")
    for heading in ("part", "share wanted", "share measured", "AUC of it alone", "AUC of all but it"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for part, share in measured.items():
        cells = [f"{worth[part].alone:.4f}", f"{worth[part].without:.4f}"] if part in worth else ["", ""]
        table.add_row(part, f"{wanted[part]:.3f}", f"{share:.3f}", *cells)
    return table
