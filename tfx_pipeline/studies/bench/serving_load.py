"""`dmf bench serving` on a server or a model of the caller's: load, version swaps, and a look at every score."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.live import Live
from rich.table import Table

from serving import contract
from serving.client import RankingClient, RankingError
from serving.export.servable import request_arrays
from serving.load import (
    ExpectedScores,
    LoadOptions,
    LoadReport,
    MemorySampler,
    Progress,
    RankRequest,
    VersionSwapper,
    draw_requests,
    golden_ages,
    golden_columns,
    golden_histories,
    golden_users,
    publish_version,
    run_load,
)
from tfx_pipeline.console import console, styled
from tfx_pipeline.errors import ModelError
from tfx_pipeline.studies.bench.latency_picture import draw_latencies
from tfx_pipeline.studies.bench.machine import Machine, machine
from tfx_pipeline.studies.bench.serving_models import copy_with_other_weights, export_random_model
from tfx_pipeline.studies.bench.variant import Variant
from tfx_pipeline.trained.server_process import ServerProcess
from tfx_pipeline.trained.version import Version

# Different requests, asked in turn; of each the right scores are computed before the run.
_REQUESTS = 64
_POLL_SECONDS = 0.2
# Scores by other weights must differ at least so much, and by more than a score's tolerance.
_SPREAD = 1e-3
_RANDOM_MODEL = Variant("dmf")


@dataclasses.dataclass(frozen=True)
class LoadSetup:
    """What to put load on.

    Attributes:
        model: an exported version or the folder of versions: its ids are asked for, and its scores are what answers are
            compared with. None, without a target: a DMF model with random weights.
        target: "host:port" of a server that runs; None starts one for the model.
        model_name: the name that the model is served under; a target wants it.
        candidates: N.
        history: L.
        swap_seconds: publish a new version so often, in turn with the model's weights and with others; own server only.
    """

    model: Path | None
    target: str | None
    model_name: str | None
    candidates: int
    history: int
    swap_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class OwnServer:
    """What is known of a server of the command's own.

    Attributes:
        memory: resident bytes in the first and last quarter of the load, and at most; None where they were not read.
        swaps: how often it changed its version.
    """

    memory: Mapping[str, int] | None
    swaps: int


@dataclasses.dataclass(frozen=True)
class LoadResult:
    """What `dmf bench serving` measured under load.

    Attributes:
        report: of the load.
        server: None of a server that ran before.
        options: how much load, and how.
        setup: what it was put on.
        machine: that was measured on.
    """

    report: LoadReport
    server: OwnServer | None
    options: LoadOptions
    setup: LoadSetup
    machine: Machine

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it: the load's report with `memory` and `swaps` of an own server, `load`, `machine`."""
        load = dataclasses.asdict(self.options) | {
            "candidates": self.setup.candidates,
            "history": self.setup.history,
            "swap_seconds": self.setup.swap_seconds,
        }
        server = {} if self.server is None else dataclasses.asdict(self.server)
        return self.report.to_json() | server | {"load": load, "machine": dataclasses.asdict(self.machine)}


def bench_load(
    setup: LoadSetup,
    options: LoadOptions,
    *,
    picture: Path | None = None,
) -> LoadResult:
    """Puts load on a server, with a line about its progress on the terminal.

    Args:
        setup: what to put load on, with a model or a target.
        options: how much, and how.
        picture: also draw the latencies there, PNG.

    Raises:
        ModelError: no model, or no server, or not one request was answered.
        KeyboardInterrupt: before the first answer; after that Ctrl-C ends the load, and what came until then is told.
    """
    server = None
    if setup.target is None:
        report, server = _load_on_own_server(setup, options)
    else:
        report = _load_on_target(setup.target, setup, options)
    if report.interrupted and not report.answered:
        raise KeyboardInterrupt
    if not report.answered:
        raise ModelError(f"none of {report.failed} requests was answered: {'; '.join(report.examples)}")
    if picture is not None:
        title = f"{setup.candidates} candidates, history of {setup.history}, concurrency {options.concurrency}"
        draw_latencies({"rank": report.latencies}, picture, title)
    return LoadResult(report, server, options, setup, machine())


def _load_on_target(target: str, setup: LoadSetup, options: LoadOptions) -> LoadReport:
    assert setup.model_name is not None, "a target wants a model name"
    version = None if setup.model is None else Version.find(setup.model)
    requests = _requests(version, setup)
    expected = None
    if version is not None and version.number is not None:
        number = version.number
        options = dataclasses.replace(options, tolerance=version.contract.tolerance)
        with console().status("computing the right scores"):
            scores = _scores(version, requests)

        def expected(request: int, answered: int) -> np.ndarray | None:
            return scores[request] if answered == number else None

    return _run(target, setup.model_name, requests, options, expected)


def _load_on_own_server(setup: LoadSetup, options: LoadOptions) -> tuple[LoadReport, OwnServer]:
    """The report, and what is known of the server."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dmf-bench-")))
        with console().status("preparing the model") as status:
            if setup.model is None:
                version = Version(folder / "random" / "1")
                version.path.parent.mkdir()
                export_random_model(_RANDOM_MODEL, version.path)
            else:
                version = Version.find(setup.model)
            sources = [version]
            options = dataclasses.replace(options, tolerance=version.contract.tolerance)
            if setup.swap_seconds is not None:
                sources.append(Version(folder / "other"))
                copy_with_other_weights(version.path, sources[1].path)
            status.update("computing the right scores")
            requests = _requests(version, setup)
            scores = _different([_scores(source, requests) for source in sources], options.tolerance)
            status.update("starting the server")
            base = folder / "base"
            base.mkdir()
            publish_version(version.path, base, 1)
            name = setup.model_name or version.path.parent.name
            server = stack.enter_context(ServerProcess(base, name, poll_seconds=_POLL_SECONDS))
        memory = stack.enter_context(MemorySampler(server.pid))
        observer = stack.enter_context(RankingClient(server.target, name))

        def is_served(version: int) -> bool:
            return version in observer.model_status().available

        def expected(request: int, version: int) -> np.ndarray:
            return scores[swapper.source_of(version)][request]

        with VersionSwapper(base, [source.path for source in sources], setup.swap_seconds, is_served) as swapper:
            report = _run(server.target, name, requests, options, expected)
    return report, OwnServer(memory.figures(), swapper.served - 1)


def _run(
    target: str,
    name: str,
    requests: Sequence[RankRequest],
    options: LoadOptions,
    expected: ExpectedScores | None,
) -> LoadReport:
    try:
        with _progress_line() as show:
            return run_load(target, name, requests, options, expected=expected, on_progress=show)
    except RankingError as error:
        raise ModelError(str(error)) from None


def _requests(version: Version | None, setup: LoadSetup) -> list[RankRequest]:
    items: list[str] = []
    users: list[dict[str, Any]] = []
    columns: dict[str, list[Any]] = {}
    ages: list[float | None] = []
    histories: list[str] = []
    if version is not None:
        users, columns = golden_users(version.path), golden_columns(version.path)
        ages, histories = golden_ages(version.path), golden_histories(version.path)
        # A model with random weights has no catalogue.
        items = version.items() if version.has_items else []
    sizes = {"candidates": setup.candidates, "history": setup.history, "count": _REQUESTS}
    return draw_requests(items, users, **sizes, columns=columns, ages=ages, histories=histories)


def _scores(version: Version, requests: Sequence[RankRequest]) -> list[np.ndarray]:
    """Scores [N] of every request, by the model in this process."""
    with version.open() as servable:
        return [
            servable.run(
                contract.RANK,
                request_arrays(
                    {**one.user, contract.CANDIDATE_ITEM_ID: one.candidates, **one.columns}, version.contract
                ),
            )[contract.SCORE][0]
            for one in requests
        ]


def _different(scores: list[list[np.ndarray]], tolerance: float) -> list[list[np.ndarray]]:
    """The scores of the models that take turns, when they can be told apart."""
    for one, other in zip(scores[0], scores[-1], strict=True) if len(scores) > 1 else ():
        if not np.abs(one - other).max() > max(_SPREAD, 3 * tolerance):
            raise ModelError("the model scores as it does with other weights: a mixed answer could not be told")
    return scores


@contextlib.contextmanager
def _progress_line() -> Iterator[Callable[[Progress], None]]:
    """A line on the terminal that is written anew with every report; nothing where there is no terminal."""
    # Drawn with the reports alone: a thread that redraws would take its time from the generator.
    with Live("warming up", console=console(), auto_refresh=False, transient=True) as line:

        def show(progress: Progress) -> None:
            bad = {"failed": progress.failed, "with wrong scores": progress.wrong}
            found = [part for what, count in bad.items() if count for part in (", ", (f"{count} {what}", "red"))]
            p50 = "" if progress.p50_ms is None else f", p50 {progress.p50_ms:.1f} ms"
            version = "" if progress.version is None else f", version {progress.version}"
            line.update(
                styled(
                    f"{progress.seconds:.0f} s: {progress.answered:,} answered",
                    *found,
                    f", {progress.qps:.0f} per second{p50}{version}",
                ),
                refresh=True,
            )

        yield show


def load_table(result: LoadResult) -> Table:
    """What `bench_load` returns, for a reader."""
    options, setup = result.options, result.setup
    figures = result.report.to_json()
    loop = "closed loop" if options.rate is None else f"open loop of {options.rate:g} per second"
    table = Table(
        title=f"N = {setup.candidates}, L = {setup.history}, concurrency {options.concurrency}, {loop}",
        title_justify="left",
        show_header=False,
    )
    table.add_column("what")
    table.add_column("value", justify="right")
    latency = figures["latency_ms"]
    rows = {
        "answered": f"{figures['answered']:,} of {figures['requests']:,} in {figures['seconds']:.1f} s",
        "requests per second": f"{figures['qps']:.1f}",
        "p50, p95, p99, max (ms)": ", ".join(f"{latency[name]:.1f}" for name in ("p50", "p95", "p99", "max")),
        "bytes per request, answer": f"{figures['request_bytes']:,}, {figures['answer_bytes']:,}",
        "errors": ", ".join(f"{code}: {count:,}" for code, count in figures["errors"].items()) or "none",
        "scores checked, wrong": f"{figures['checked']:,}, {figures['wrong_scores']:,}",
        "versions that answered": _span(result.report.versions),
    }
    if options.rate is not None:
        rows["due and never sent"] = f"{result.report.unsent:,}"
    if setup.swap_seconds is not None and result.server is not None:
        rows["version swaps"] = f"{result.server.swaps:,}"
    if result.server is not None and result.server.memory:
        memory = result.server.memory
        first, last, peak = (memory[name] / 2**20 for name in ("first_quarter", "last_quarter", "peak"))
        rows["server's memory (MiB)"] = f"{first:,.0f} in the first quarter, {last:,.0f} in the last, peak {peak:,.0f}"
    for row in rows.items():
        table.add_row(*row)
    return table


def _span(versions: Mapping[int, int]) -> str:
    numbers = sorted(versions)
    return f"{numbers[0]}" if len(numbers) == 1 else f"{len(numbers)}, from {numbers[0]} to {numbers[-1]}"


def load_remarks(result: LoadResult) -> list[str]:
    """What the figures do not say by themselves; often nothing."""
    report = result.report
    remarks = list(report.examples)
    if report.interrupted:
        remarks.append("Interrupted: these are the requests until then.")
    if report.generator_cpu > 0.9:
        remarks.append(
            f"The generator used {report.generator_cpu:.2f} cores, as much as Python can: the server may be faster."
        )
    if report.unsent:
        remarks.append("The server does not keep up with the rate; latencies would grow for as long as the load lasts.")
    return remarks
