"""The section of a run's page about what a model takes to serve: time, where it was measured, and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from serving.export.metadata import saved_model_sizes
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.hardware import Hardware
from tfx_pipeline.files.json_record import JsonRecord, RecordError
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.pages.kit.figures import draw
from tfx_pipeline.pages.kit.page import Block, Picture, Prose, Section, Table
from tfx_pipeline.pages.kit.palette import colour
from tfx_pipeline.pages.kit.wording import count, size

_PERCENTILES = ("p50", "p95", "p99", "max")


@dataclass(frozen=True)
class Load:
    """What was asked: candidates and history of a request, and how many requests at a time."""

    candidates: int
    history: int
    concurrency: int


@dataclass(frozen=True)
class LoadLatency(JsonRecord):
    """What the page shows of a server under load.

    Attributes:
        answered, requests: how many of how many.
        qps: rankings per second.
        latency_ms: milliseconds, by percentile.
        request_bytes, answer_bytes: of one request.
        wrong_scores: answers with other scores than the model's.
        load: what was asked.
        machine: that was measured on.
        memory: resident bytes of a server of the command's own, `first_quarter` and `last_quarter` of the load, and
            `peak`; None of a server that ran before, or where the system did not tell.
    """

    answered: int
    requests: int
    qps: float
    latency_ms: Mapping[str, float]
    request_bytes: int
    answer_bytes: int
    wrong_scores: int
    load: Load
    machine: Hardware
    memory: Mapping[str, int] | None = None


@dataclass(frozen=True)
class SignatureLatency:
    """One signature of one model: median and 99th percentile in milliseconds, calls per second."""

    model: str
    signature: str
    transport: str
    history: int
    p50_ms: float
    p99_ms: float
    qps: float


@dataclass(frozen=True)
class ComparedLatency(JsonRecord):
    """What the page shows of models with random weights that were compared."""

    results: Sequence[SignatureLatency]
    machine: Hardware


Latency = LoadLatency | ComparedLatency


def read_latency(file: Path) -> Latency:
    """What `dmf bench serving --json` printed.

    Raises:
        DataError: no such file, or another kind of file.
    """
    try:
        report = read_json(file)
    except (OSError, ValueError) as error:
        raise DataError(f"--latency: cannot read {file} as JSON: {error}") from None
    try:
        if isinstance(report, dict) and {"latency_ms", "load"} <= set(report):
            return LoadLatency.from_json(report)
        if isinstance(report, dict) and "ratios" in report:
            return ComparedLatency.from_json(report)
    except RecordError as error:
        raise DataError(f"--latency: {file} is not what `dmf bench serving --json` prints: {error}") from None
    raise DataError(f"--latency: {file} is not what `dmf bench serving --json` prints")


def serving_section(latency: Latency | None, model_dir: Path | None) -> Section:
    """What it takes to serve the model: time, where it was measured, and size.

    Args:
        latency: of serving; None: it was not measured.
        model_dir: the exported model; None: there is none.
    """
    blocks = _time(latency)
    if model_dir is not None:
        rows = [(part, size(number)) for part, number in saved_model_sizes(model_dir).items()]
        blocks.append(Table("Size of the exported model", ("part", "size"), rows, numbers=1))
    return Section("serving", "Serving: latency and size", blocks)


def _time(latency: Latency | None) -> list[Block]:
    if latency is None:
        text = (
            "Not measured. The command dmf bench serving --model VERSION --json measures it; give what it prints, in "
            "a file, to dmf report --latency FILE."
        )
        return [Prose(text)]
    return _load(latency) if isinstance(latency, LoadLatency) else _compared(latency)


def _load(latency: LoadLatency) -> list[Block]:
    load, figures = latency.load, latency.latency_ms

    def paint(axes: Axes) -> None:
        places = np.arange(len(_PERCENTILES))
        axes.barh(places, [figures[name] for name in _PERCENTILES], 0.6, color=colour(0))
        axes.set_yticks(places, _PERCENTILES)
        axes.invert_yaxis()
        axes.set(xlabel="milliseconds until the ranking", xlim=(0, None))

    asked = f"{load.candidates} candidates, history of {load.history}, {load.concurrency} requests at a time"
    rows = [
        ("answered requests", f"{count(latency.answered)} of {count(latency.requests)}"),
        ("requests per second", f"{latency.qps:.1f}"),
        *((f"latency {name} (ms)", f"{value:.1f}") for name, value in figures.items()),
        ("bytes of a request", count(latency.request_bytes)),
        ("bytes of an answer", count(latency.answer_bytes)),
        ("answers with wrong scores", count(latency.wrong_scores)),
        *((f"memory of the server, {part}", size(held)) for part, held in _memory(latency).items()),
    ]
    return [
        Picture(
            [draw("latency", "Latency percentiles in milliseconds", paint)],
            f"{asked}: half of the rankings are there within {figures['p50']:.1f} ms, 99 % within "
            f"{figures['p99']:.1f} ms. {_measured_on(latency.machine)}",
        ),
        Table("Load", ("figure", "value"), rows, numbers=1),
    ]


def _memory(latency: LoadLatency) -> dict[str, int]:
    names = {"first_quarter": "first quarter", "last_quarter": "last quarter", "peak": "most at one moment"}
    held = latency.memory or {}
    return {text: held[name] for name, text in names.items() if name in held}


def _compared(latency: ComparedLatency) -> list[Block]:
    rows = [
        (
            *(one.model, one.signature, one.transport, str(one.history)),
            *(f"{number:.1f}" for number in (one.p50_ms, one.p99_ms, one.qps)),
        )
        for one in latency.results
    ]
    columns = ("model", "signature", "transport", "history (items)", "p50 (ms)", "p99 (ms)", "requests/s")
    note = Prose(
        "Models with random weights, not the one of this run: latency does not depend on what was learned. "
        + _measured_on(latency.machine)
    )
    return [note, Table("One request at a time", columns, rows, numbers=4)]


def _measured_on(machine: Hardware) -> str:
    return f"Measured on {machine.hardware}."
