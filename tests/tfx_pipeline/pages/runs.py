"""Runs put together by hand, for sections that read documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx_pipeline.pages.run.finished_run import ArtifactRecord, FinishedRun, StepRecord


def run_of(output: Path, documents: dict[tuple[str, str], dict[str, Any]], **values: Any) -> FinishedRun:
    """A run whose artifacts are folders with the given files: (node, output) -> file -> JSON value, text or bytes."""
    artifacts = []
    for number, ((node, name), files) in enumerate(documents.items(), start=1):
        folder = output / "artifacts" / node / name / str(number)
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content if isinstance(content, str) else json.dumps(content))
        artifacts.append(ArtifactRecord(node, name, "Thing", number, folder, {}))
    defaults = {
        "output": output,
        "pipeline": "tiny",
        "run_id": "20250101T000000",
        "steps": [StepRecord("BehaviorLogExampleGen", "ran", 1_735_689_600_000, 1.5)],
        "artifacts": artifacts,
        "settings": {},
        "later_failure": None,
    }
    return FinishedRun(**{**defaults, **values})
