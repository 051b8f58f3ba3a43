"""The command line `dmf`. Sub-commands import what they need inside their function, so that `--help` is instant."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    from rich.console import Console
except ModuleNotFoundError:
    sys.exit("dmf runs the pipeline, whose packages are not installed here: pip install 'dmf-ranking[tfx]'")

from tfx_pipeline.cli import compare as compare_command
from tfx_pipeline.cli import explain as explain_command
from tfx_pipeline.cli import report as report_command
from tfx_pipeline.cli import synthesize as synthesize_command
from tfx_pipeline.cli import tune as tune_command
from tfx_pipeline.cli.arguments import count, identifier, item_ids, label, output_file, port, positive
from tfx_pipeline.cli.model import add_model_commands
from tfx_pipeline.errors import ConfigError, PipelineError
from tfx_pipeline.files.output_folder import unexpected

EXIT_ERROR = 1
EXIT_USAGE = 2
# The run is complete, but thresholds or the serving gate kept the model from being pushed.
EXIT_NOT_PUSHED = 3
EXIT_INTERRUPTED = 130

# Commands that keep what they have finished.
_RESUMING = ("run", "demo", "compare", "tune")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the console script; returns the exit status and prints errors of ours as sentences."""
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.command(parsed)
    except ConfigError as error:
        return _refuse("configuration", error, EXIT_USAGE)
    except PipelineError as error:
        return _refuse("stopped", error, EXIT_ERROR)
    except KeyboardInterrupt:
        kept = "finished steps are kept; the same command goes on from there" if parsed.name in _RESUMING else ""
        return _refuse("interrupted", kept, EXIT_INTERRUPTED)
    except BrokenPipeError:
        return 0
    # A folder that may not be written, a full disk: the system's own sentence names the path.
    except OSError as error:
        return _refuse("stopped", error, EXIT_ERROR)
    # Of a command that only reads, and so has no log: those that hold an output folder say so themselves.
    except Exception as error:
        log = Path(tempfile.gettempdir(), f"dmf-{parsed.name}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}.log")
        return _refuse("stopped", unexpected(error, log), EXIT_ERROR)


def _refuse(kind: str, error: object, status: int) -> int:
    err, sentence = Console(stderr=True), str(error)
    err.print(f"[red bold]{kind}:[/] " if sentence else f"[red bold]{kind}[/]", end="")
    err.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dmf", description="Multimodal click-through-rate ranking, logs to serving.")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    config = commands.add_parser("config", help="work with configuration files")
    config_commands = config.add_subparsers(dest="config_command", required=True, metavar="COMMAND")
    check = config_commands.add_parser("check", help="validate a configuration; exit status 2 when it is refused")
    check.add_argument("config", metavar="FILE", type=Path)
    _add_overrides(check)
    check.set_defaults(command=_config_check)

    run = commands.add_parser("run", help="run the pipeline of a configuration")
    run.add_argument("--config", type=Path, default=Path("pipeline_config.yaml"), metavar="FILE")
    run.add_argument("--summary-json", type=output_file, metavar="FILE", help="also write the summary to FILE")
    run.add_argument(
        "--no-cache",
        metavar="STEPS",
        default="",
        help="comma-separated steps to run even if nothing changed, or 'all'",
    )
    _add_overrides(run)
    run.set_defaults(command=_run)

    demo = commands.add_parser(
        "demo", help="write synthetic logs, run the pipeline on them, serve the model, rank for one user"
    )
    demo.add_argument("--config", type=Path, default=Path("pipeline_config.yaml"), metavar="FILE")
    demo.add_argument("--summary-json", type=output_file, metavar="FILE", help="also write the summary to FILE")
    _add_overrides(demo)
    demo.set_defaults(command=_demo)

    rank = commands.add_parser("rank", help="rank candidates for one user with an exported model")
    rank.add_argument("--model", type=Path, required=True, metavar="DIR", help="a version, or the folder of versions")
    rank.add_argument("--user", type=identifier, required=True, metavar="ID")
    which = rank.add_mutually_exclusive_group(required=True)
    which.add_argument("--candidates", type=identifier, metavar="A,B,C", help="item ids")
    which.add_argument("--top", type=int, metavar="K", help="the best K of the whole catalogue")
    rank.add_argument(
        "--history", type=item_ids, metavar="A,B,C", help="item ids, oldest first; default: the user's, from the logs"
    )
    rank.add_argument("--json", action="store_true", help="print JSON instead of a table")
    rank.set_defaults(command=_rank)

    for evidence in (compare_command, tune_command, report_command, explain_command, synthesize_command):
        evidence.add_command(commands)
    add_model_commands(commands)

    serve = commands.add_parser("serve", help="serve a folder of exported versions over gRPC and REST, for development")
    serve.add_argument("base_dir", type=Path, metavar="MODEL_BASE_DIR", help="the folder of numbered versions")
    serve.add_argument("--name", help="of the model; default: that of its warm-up requests, or the folder's")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at; default: 127.0.0.1")
    serve.add_argument("--port", type=port, default=8500, help="of gRPC; 0 takes a free one; default: 8500")
    serve.add_argument("--rest-port", type=port, metavar="PORT", help="of REST; 0 takes a free one; default: no REST")
    serve.add_argument(
        "--engine",
        choices=("local", "tensorflow-serving"),
        default="local",
        help="'tensorflow-serving' starts tensorflow_model_server from PATH or $TENSORFLOW_MODEL_SERVER",
    )
    serve.add_argument(
        "--versions", default="latest", metavar="WHICH", help="latest, latest:N, all, or numbers; default: latest"
    )
    serve.add_argument(
        "--label", action="append", type=label, default=[], metavar="NAME=VERSION", help="may be repeated"
    )
    serve.add_argument(
        "--batch", action="store_true", help="run concurrent calls together, padded as TensorFlow Serving does"
    )
    serve.add_argument(
        "--max-concurrent",
        type=count,
        metavar="N",
        help="calls that may run and wait; more are refused; default: 256",
    )
    serve.add_argument(
        "--max-message-bytes",
        type=count,
        metavar="BYTES",
        help="largest request; default: 2 GB",
    )
    serve.add_argument(
        "--poll-seconds",
        type=positive,
        default=1.0,
        metavar="S",
        help="how often to look for versions; default: 1",
    )
    serve.set_defaults(command=_serve)

    bench = commands.add_parser("bench", help="measure speed on this machine")
    bench_commands = bench.add_subparsers(dest="bench_command", required=True, metavar="COMMAND")
    attention = bench_commands.add_parser(
        "attention", help="factored attention and DMF against textbook form, early fusion and ID-only"
    )
    attention.add_argument("--history", type=count, nargs="+", default=[100, 500], metavar="L", help="default: 100 500")
    attention.add_argument("--candidates", type=count, default=1200, metavar="N", help="default: 1200")
    attention.add_argument(
        "--id-dim", type=count, default=64, metavar="D", help="width of item embeddings; default: 64"
    )
    attention.add_argument(
        "--similarity-dim",
        type=count,
        default=64,
        metavar="E",
        help="width of what early fusion adds; default: 64",
    )
    attention.set_defaults(command=_bench_attention)
    training = bench_commands.add_parser("training", help="candidates per second of every model's training step")
    training.add_argument("--models", metavar="A,B", help="default: all that are registered")
    training.set_defaults(command=_bench_training)
    _add_bench_serving(bench_commands)
    for command, seconds, what in ((attention, 30.0, "per length of history"), (training, 60.0, "in all")):
        duration = f"how long to measure {what}; default: {seconds:g}"
        command.add_argument("--seconds", type=positive, default=seconds, metavar="S", help=duration)
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _add_bench_serving(commands: Any) -> None:
    serving = commands.add_parser(
        "serving",
        help="latency over gRPC: DMF against target attention and early fusion, or load on a server",
        description="Without options: DMF, target attention and early fusion, exported with random weights, each asked "
        "over gRPC and in process. With a target, a model or an option of load: load on that server, on a local server "
        "for that model, or on one for a DMF model with random weights; exit status 1 when a score is wrong.",
    )
    serving.add_argument("--target", metavar="HOST:PORT", help="a server that runs; wants --model-name")
    serving.add_argument("--model-name", metavar="NAME", help="that the model is served under")
    serving.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="a version, or the folder of versions: its ids are asked for, and scores are compared with its own",
    )
    serving.add_argument("--candidates", type=count, default=1200, metavar="N", help="default: 1200")
    serving.add_argument(
        "--history",
        type=count,
        nargs="+",
        metavar="L",
        help="default: 100, and 500 too where models are compared",
    )
    serving.add_argument("--concurrency", type=count, metavar="C", help="requests under way at most; default: 1")
    amount = serving.add_mutually_exclusive_group()
    amount.add_argument(
        "--seconds",
        type=positive,
        metavar="S",
        help="how long to measure; default: 10 of load, 60 per length of history where models are compared",
    )
    amount.add_argument("--requests", type=count, metavar="K", help="how many to send, in place of --seconds")
    serving.add_argument(
        "--rate",
        type=positive,
        metavar="R",
        help="requests per second, sent when they are due (open loop); default: the next when an answer has come",
    )
    serving.add_argument("--warm-up", type=count, metavar="K", help="requests that do not count; default: 20")
    serving.add_argument(
        "--calls",
        choices=("rank", "kept-state", "mixed"),
        help="how to ask: rank, the two-step path with kept user states, or both; default: rank, with swaps mixed",
    )
    serving.add_argument(
        "--swap-seconds",
        type=positive,
        metavar="S",
        help="publish a new version so often, in turn with the weights of --model and with others",
    )
    serving.add_argument("--json", action="store_true", help="print JSON instead of a table")
    serving.add_argument("--picture", type=Path, metavar="FILE.png", help="also draw the latencies")
    serving.set_defaults(command=_bench_serving)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="override a key of the configuration; may be repeated",
    )


def _config_check(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.config import load_config

    config = load_config(parsed.config, parsed.overrides)
    Console().print(f"{parsed.config}: [green]ok[/], pipeline '{config.name}', output {config.output}", soft_wrap=True)
    return 0


def _run(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.config import load_config
    from tfx_pipeline.runners.run import run

    config = load_config(parsed.config, parsed.overrides)
    uncached = [step.strip() for step in parsed.no_cache.split(",") if step.strip()]
    summary = run(config, uncached=uncached, summary_json=parsed.summary_json)
    return 0 if summary.pushed else EXIT_NOT_PUSHED


def _demo(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.config import load_config
    from tfx_pipeline.studies.worlds.demo import demo

    config = load_config(parsed.config, parsed.overrides)
    summary = demo(config, summary_json=parsed.summary_json)
    return 0 if summary.pushed else EXIT_NOT_PUSHED


def _rank(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.trained.rank import rank_from_command_line

    return rank_from_command_line(
        parsed.model,
        parsed.user,
        candidates=parsed.candidates.split(",") if parsed.candidates is not None else None,
        top=parsed.top,
        history=parsed.history,
        as_json=parsed.json,
    )


def _serve(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.trained.serve import ServeOptions, serve

    return serve(
        ServeOptions(
            parsed.base_dir,
            name=parsed.name,
            host=parsed.host,
            port=parsed.port,
            rest_port=parsed.rest_port,
            engine=parsed.engine,
            versions=parsed.versions,
            labels=dict(parsed.label),
            batch=parsed.batch,
            max_concurrent=parsed.max_concurrent,
            max_message_bytes=parsed.max_message_bytes,
            poll_seconds=parsed.poll_seconds,
        )
    )


def _bench_attention(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.studies.bench.command import attention

    return attention(
        parsed.history,
        candidates=parsed.candidates,
        id_dim=parsed.id_dim,
        similarity_dim=parsed.similarity_dim,
        seconds=parsed.seconds,
        as_json=parsed.json,
    )


def _bench_training(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.studies.bench.command import training

    models = parsed.models.split(",") if parsed.models is not None else None
    return training(models, seconds=parsed.seconds, as_json=parsed.json)


def _bench_serving(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.studies.bench.serving_command import serving

    return serving(parsed)
