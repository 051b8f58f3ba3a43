"""`dmf bench serving` on a terminal."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from serving.load import CallMode, LoadOptions
from tfx_pipeline.console import console
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.studies.bench.command import measured, print_json, print_report

if TYPE_CHECKING:
    from tfx_pipeline.studies.bench.serving import ServingReport
    from tfx_pipeline.studies.bench.serving_load import LoadResult

EXIT_WRONG_SCORES = 1
EXIT_INTERRUPTED = 130
_HISTORIES = (100, 500)
_COMPARE_SECONDS, _LOAD_SECONDS = 60.0, 10.0
# Options that only load has: any of them asks for it.
_LOAD_ONLY = ("target", "model", "model_name", "concurrency", "requests", "rate", "warm_up", "calls", "swap_seconds")


def serving(parsed: argparse.Namespace) -> int:
    """Puts load on a server, or compares models where no option is given that load alone has; the exit status.

    Raises:
        ConfigError: options that exclude each other.
        ModelError: no model, no server, no answers, or answers that must be equal and are not.
    """
    if parsed.picture is not None and parsed.picture.suffix.lower() != ".png":
        # Before the minutes of measuring.
        raise ConfigError(f"--picture writes PNG: expected a name like latency.png, got {parsed.picture}")
    try:
        if any(getattr(parsed, name) is not None for name in _LOAD_ONLY):
            return load(parsed)
        return compare(parsed)
    except KeyboardInterrupt:
        console().print("[red bold]interrupted:[/] there is nothing to report yet")
        return EXIT_INTERRUPTED


def compare(parsed: argparse.Namespace) -> int:
    """Prints what `tfx_pipeline.studies.bench.serving.bench_serving` returns; returns the exit status.

    Raises:
        ModelError: a server does not start, or answers that must be equal are not.
    """

    def measure() -> ServingReport:
        from tfx_pipeline.studies.bench.serving import bench_serving

        return bench_serving(
            parsed.history or _HISTORIES,
            candidates=parsed.candidates,
            seconds=parsed.seconds or _COMPARE_SECONDS,
            picture=parsed.picture,
        )

    report = measured(measure)
    if parsed.json:
        return print_json(report.to_json())
    from tfx_pipeline.studies.bench.serving import serving_summary, serving_table

    return print_report(report.machine, serving_table(report), serving_summary(report))


def load(parsed: argparse.Namespace) -> int:
    """Prints what `tfx_pipeline.studies.bench.serving_load.bench_load` returns; returns the exit status.

    Raises:
        ConfigError: options that exclude each other.
        ModelError: no model, no server, or no answers.
    """
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
    status = EXIT_INTERRUPTED if result.report.interrupted else 0
    if result.report.wrong:
        status = EXIT_WRONG_SCORES
    if parsed.json:
        print_json(result.to_json())
        return status
    from tfx_pipeline.studies.bench.serving_load import load_remarks, load_table

    print_report(result.machine, load_table(result), load_remarks(result))
    return status
