"""Sections of a run's page about where the model comes from and how fast it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.axes import Axes

from serving.export.metadata import saved_model_sizes
from tfx_pipeline.errors import DataError
from tfx_pipeline.pages.kit.figures import draw
from tfx_pipeline.pages.kit.page import Block, Details, Picture, Prose, Section, Table
from tfx_pipeline.pages.kit.palette import colour
from tfx_pipeline.pages.kit.wording import count, since_epoch, size
from tfx_pipeline.pages.run.finished_run import FinishedRun

_PERCENTILES = ("p50", "p95", "p99", "max")
# Sections that a search of the pipeline changes.
_TUNED = ("model", "training")


def lineage_section(run: FinishedRun) -> Section:
    """Steps, artifacts, configuration, code and versions."""
    blocks: list[Block] = [
        Table(
            "Steps of the run",
            ("step", "state", "started", "seconds"),
            [(step.node, step.state, since_epoch(step.started), f"{step.seconds:.1f}") for step in run.steps],
            numbers=1,
        ),
        Table(
            "Artifacts, by their number in the metadata store",
            ("step", "output", "type", "path below the output folder", "number"),
            [
                (one.node, one.name, one.type_name, _below(one.path, run.output), str(one.number))
                for one in run.artifacts
            ],
            numbers=1,
        ),
    ]
    if run.model_dir is not None:
        sizes = {part: size(number) for part, number in saved_model_sizes(run.model_dir).items()}
        blocks.append(Table("Size of the exported model", tuple(sizes), [tuple(sizes.values())], numbers=len(sizes)))
    if run.metadata is None:
        blocks.append(Prose("The model carries no metadata: its code revision and versions are not known.", "warning"))
    else:
        blocks += _metadata(run.metadata)
    if run.settings:
        text = yaml.safe_dump(_settings(run), sort_keys=False, allow_unicode=True, width=100)
        blocks.append(Details("Configuration that the model was trained with", text))
    return Section("lineage", "Lineage", blocks)


def _metadata(metadata: Mapping[str, Any]) -> list[Block]:
    git = metadata["git"]
    revision = "not a git checkout"
    if git is not None:
        revision = git["revision"] + (" and changes that were not committed" if git["dirty"] else "")
    facts = [
        ("exported", metadata["created"]),
        ("code revision", revision),
        ("configuration", metadata["config_digest"]),
        ("content table", metadata["content"]["version"]),
        ("seed", str(metadata["seed"])),
        ("weights", f"{count(metadata['weights'])} numbers, besides the content tables"),
        ("hyper-parameters", ", ".join(f"{name} {value}" for name, value in metadata["params"].items())),
        *((f"version of {name}", version) for name, version in metadata["versions"].items()),
    ]
    return [Table("What made the model", ("fact", "value"), facts)]


def _settings(run: FinishedRun) -> dict[str, Any]:
    """Sections that are JSON inside JSON as plain values, those that a search may change as the model was trained."""
    plain = {}
    for name, value in run.settings.items():
        try:
            plain[name] = run.section(name) if name in _TUNED else json.loads(value)
        except (TypeError, ValueError):
            plain[name] = value
    return plain


def _below(path: Path, output: Path) -> str:
    return str(path.relative_to(output)) if path.is_relative_to(output) else str(path)


def read_latency(file: Path) -> dict[str, Any]:
    """What `dmf bench serving --json` printed.

    Raises:
        DataError: no such file, or another kind of file.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"--latency: cannot read {file} as JSON: {error}") from None
    if not isinstance(report, dict) or not ({"latency_ms", "load"} <= set(report) or "ratios" in report):
        raise DataError(f"--latency: {file} is not what `dmf bench serving --json` prints")
    return report


def latency_section(report: Mapping[str, Any] | None) -> Section:
    """Serving latency, where it was measured."""
    if report is None:
        text = (
            "Not measured. The command dmf bench serving --model VERSION --json measures it; give what it prints, in "
            "a file, to dmf report --latency FILE."
        )
        return Section("latency", "Serving latency", [Prose(text)])
    blocks = _load(report) if "load" in report else _compared(report)
    machine = report["machine"]
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
    blocks.append(Prose(f"Measured on {machine['cpu']}, {machine['cores']} cores{gpus}."))
    return Section("latency", "Serving latency", blocks)


def _load(report: Mapping[str, Any]) -> list[Block]:
    load, figures = report["load"], report["latency_ms"]

    def paint(axes: Axes) -> None:
        places = np.arange(len(_PERCENTILES))
        axes.barh(places, [figures[name] for name in _PERCENTILES], 0.6, color=colour(0))
        axes.set_yticks(places, _PERCENTILES)
        axes.invert_yaxis()
        axes.set(xlabel="milliseconds until the ranking", xlim=(0, None))

    asked = f"{load['candidates']} candidates, history of {load['history']}, {load['concurrency']} requests at a time"
    rows = [
        ("answered requests", f"{count(report['answered'])} of {count(report['requests'])}"),
        ("requests per second", f"{report['qps']:.1f}"),
        *((f"latency {name} (ms)", f"{value:.1f}") for name, value in figures.items()),
        ("bytes of a request", count(report["request_bytes"])),
        ("bytes of an answer", count(report["answer_bytes"])),
        ("answers with wrong scores", count(report["wrong_scores"])),
    ]
    return [
        Picture(
            [draw("latency", "Latency percentiles in milliseconds", paint)],
            f"{asked}: half of the rankings are there within {figures['p50']:.1f} ms, 99 % within "
            f"{figures['p99']:.1f} ms.",
        ),
        Table("Load", ("figure", "value"), rows, numbers=1),
    ]


def _compared(report: Mapping[str, Any]) -> list[Block]:
    rows = [
        (
            *(str(one[name]) for name in ("model", "signature", "transport", "history")),
            *(f"{one[name]:.1f}" for name in ("p50_ms", "p99_ms", "qps")),
        )
        for one in report["results"]
    ]
    columns = ("model", "signature", "transport", "history (items)", "p50 (ms)", "p99 (ms)", "requests/s")
    note = Prose("Models with random weights, not the one of this run: latency does not depend on what was learned.")
    return [note, Table("One request at a time", columns, rows, numbers=4)]
