"""`dmf bench serving`: models compared over gRPC, or load on a server."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import comma_separated, count, positive
from tfx_pipeline.cli.bench.measuring import measured, print_report
from tfx_pipeline.cli.options import Commands, add_json
from tfx_pipeline.cli.output import print_json
from tfx_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from tfx_pipeline.studies.bench.serving import ServingReport
    from tfx_pipeline.studies.bench.serving_load import LoadResult

_HISTORIES = (100, 500)
_MODELS = ("dmf", "target_attention", "early_fusion")
_COMPARE_SECONDS, _LOAD_SECONDS = 60.0, 10.0
# Options that only load has: any of them asks for it.
_LOAD_ONLY = ("target", "model", "model_name", "concurrency", "requests", "rate", "warm_up", "calls", "swap_seconds")


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands` of `dmf bench`."""
    parser = commands.add_parser(
        "serving",
        help="latency over gRPC: models compared, or load on a server",
        description="Without options: DMF, target attention and early fusion, exported with random weights, each asked "
        "over gRPC and in process; the others are compared with the first. With a target, a model or an option of "
        "load: load on that server, on a local server for that model, or on one for a DMF model with random weights; "
        "exit status 1 when a score is wrong.",
    )
    parser.add_argument("--target", metavar="HOST:PORT", help="a server that runs; wants --model-name")
    parser.add_argument("--model-name", metavar="NAME", help="that the model is served under")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="a version, or the folder of versions: its ids are asked for, and scores are compared with its own",
    )
    parser.add_argument("--candidates", type=count, default=1200, metavar="N", help="default: 1200")
    parser.add_argument(
        "--history",
        type=count,
        nargs="+",
        metavar="L",
        help="default: 100, and 500 too where models are compared",
    )
    parser.add_argument("--concurrency", type=count, metavar="C", help="requests under way at most; default: 1")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--seconds",
        type=positive,
        metavar="S",
        help="how long to measure; default: 10 of load, 60 per length of history where models are compared",
    )
    amount.add_argument("--requests", type=count, metavar="K", help="how many to send, in place of --seconds")
    parser.add_argument(
        "--rate",
        type=positive,
        metavar="R",
        help="requests per second, sent when they are due (open loop); default: the next when an answer has come",
    )
    parser.add_argument("--warm-up", type=count, metavar="K", help="requests that do not count; default: 20")
    parser.add_argument(
        "--calls",
        choices=("rank", "kept-state", "mixed"),
        help="how to ask: rank, the two-step path with kept user states, or both; default: rank, with swaps mixed",
    )
    parser.add_argument(
        "--swap-seconds",
        type=positive,
        metavar="S",
        help="publish a new version so often, in turn with the weights of --model and with others",
    )
    parser.add_argument(
        "--models",
        type=comma_separated,
        metavar="A,B,C",
        help="where models are compared: of the registry, each with +items for five columns of items, +candidates for "
        f"three columns of candidates, +histories for two further histories; default: {','.join(_MODELS)}",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "both"),
        default="float32",
        help="where models are compared: what head and branches compute in, as `serving.precision` has it; default: "
        "float32",
    )
    add_json(parser, instead_of="a table")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="also draw the latencies")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Puts load on a server, or compares models where no option is given that load alone has; the exit status.

    Raises:
        ConfigError: options that exclude each other.
        ModelError: no model, no server, no answers, or answers that must be equal and are not.
    """
    from tfx_pipeline.console import console, styled

    if parsed.picture is not None and parsed.picture.suffix.lower() != ".png":
        # Before the minutes of measuring.
        raise ConfigError(f"--picture writes PNG: expected a name like latency.png, got {parsed.picture}")
    try:
        if any(getattr(parsed, name) is not None for name in _LOAD_ONLY):
            return _load(parsed)
        return _compare(parsed)
    except KeyboardInterrupt:
        console().print(styled(("interrupted:", "red bold"), " there is nothing to report yet"))
        return exit_status.INTERRUPTED


def _compare(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.studies.bench.variant import PRECISIONS, parse_variants

    # Before the minutes of measuring.
    variants = parse_variants(parsed.models or _MODELS, PRECISIONS[parsed.precision])

    def measure() -> ServingReport:
        from tfx_pipeline.studies.bench.serving import bench_serving

        return bench_serving(
            variants,
            parsed.history or _HISTORIES,
            candidates=parsed.candidates,
            seconds=parsed.seconds or _COMPARE_SECONDS,
            picture=parsed.picture,
        )

    report = measured(measure)
    if parsed.json:
        print_json(report.to_json())
    else:
        from tfx_pipeline.studies.bench.serving import serving_summary, serving_table

        print_report(report.machine, serving_table(report), serving_summary(report))
    return exit_status.OK


def _load(parsed: argparse.Namespace) -> int:
    from serving.load import CallMode, LoadOptions

    if parsed.models is not None:
        raise ConfigError("--models is for models that are compared, and not for load: leave it out")
    if parsed.precision != "float32":
        raise ConfigError("--precision is for models that are compared, and not for load: leave it out")
    if parsed.target is not None and parsed.model_name is None:
        raise ConfigError("--target wants --model-name, the name that the model is served under")
    if parsed.target is not None and parsed.swap_seconds is not None:
        raise ConfigError("--swap-seconds wants a server of its own: leave out --target")
    if parsed.history is not None and len(parsed.history) > 1:
        raise ConfigError(f"--history: load has one length, got {' '.join(map(str, parsed.history))}")
    default = CallMode.RANK if parsed.swap_seconds is None else CallMode.MIXED
    options = LoadOptions(
        requests=parsed.requests,
        seconds=None if parsed.requests is not None else parsed.seconds or _LOAD_SECONDS,
        concurrency=parsed.concurrency or 1,
        rate=parsed.rate,
        warm_up=parsed.warm_up or LoadOptions.warm_up,
        mode=CallMode(parsed.calls) if parsed.calls is not None else default,
    )

    def measure() -> LoadResult:
        from tfx_pipeline.studies.bench.serving_load import LoadSetup, bench_load

        setup = LoadSetup(
            parsed.model,
            parsed.target,
            parsed.model_name,
            candidates=parsed.candidates,
            history=parsed.history[0] if parsed.history else _HISTORIES[0],
            swap_seconds=parsed.swap_seconds,
        )
        return bench_load(setup, options, picture=parsed.picture)

    result = measured(measure)
    if parsed.json:
        print_json(result.to_json())
    else:
        from tfx_pipeline.studies.bench.serving_load import load_remarks, load_table

        print_report(result.machine, load_table(result), load_remarks(result))
    if result.report.wrong:
        return exit_status.WRONG_SCORES
    return exit_status.INTERRUPTED if result.report.interrupted else exit_status.OK
