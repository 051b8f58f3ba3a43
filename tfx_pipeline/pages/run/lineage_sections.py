"""The section of a run's page about where the model comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tfx_pipeline.pages.kit.page import Block, Details, Prose, Section, Table
from tfx_pipeline.pages.kit.wording import count, since_epoch
from tfx_pipeline.pages.run.finished_run import FinishedRun

# Sections that a search of the pipeline changes.
_TUNED = ("model", "training")


def lineage_section(run: FinishedRun) -> Section:
    """Steps, artifacts, configuration, code and versions."""
    blocks: list[Block] = [
        Table(
            "Steps of the run",
            ("step", "state", "started", "seconds", "memory, MiB"),
            [
                (
                    step.node,
                    step.state,
                    since_epoch(step.started),
                    f"{step.seconds:.1f}",
                    f"{step.peak_memory_mb:,}" if step.peak_memory_mb else "",
                )
                for step in run.steps
            ],
            numbers=2,
        )
    ]
    if run.metadata is None:
        blocks.append(Prose("The model carries no metadata: its code revision and versions are not known.", "warning"))
    else:
        blocks += _metadata(run.metadata)
    blocks.append(
        Table(
            "Artifacts, by their number in the metadata store",
            ("step", "output", "type", "path below the output folder", "number"),
            [
                (one.node, one.name, one.type_name, _below(one.path, run.output), str(one.number))
                for one in run.artifacts
            ],
            numbers=1,
        )
    )
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


def _settings(run: FinishedRun) -> Mapping[str, Any]:
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
