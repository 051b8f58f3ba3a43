"""Runs put together by hand, for sections that read documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx_pipeline.pages.run.finished_run import ArtifactRecord, FinishedRun, StepRecord

_COUNTS = {"requests": 10, "impressions": 40, "positives": 8}
INGESTION_REPORT: dict[str, Any] = {
    "rows_read": 1000,
    "rows_kept": 985,
    "quarantined": {"malformed": 0, "null_user": 3, "bad_time": 7},
    "duplicates": 4,
    "merged_labels": 1,
    "not_a_number": {},
    "users": 20,
    "users_without_profile": 0,
    "profiles_dropped": {},
    "items": {"distinct": 30, "not_in_catalogue": 2, "impressions_not_in_catalogue": 5},
    "history": {"empty_share": 0.125, "requests_by_length_from": {"0": 5, "1": 35}},
    "audit": {
        "requests_checked": 30,
        "violations": {"history_too_long": 0},
        "newest_history_age_s": 1.0,
        "oldest_history_age_s": 9.0,
    },
    "splits": {
        split: {**_COUNTS, "first_time": f"2025-01-0{day}T00:00:00Z", "last_time": f"2025-01-0{day}T23:59:00Z"}
        for day, split in enumerate(("train", "eval", "test"), start=1)
    },
    "cuts": {"eval_from": "2025-01-02T00:00:00Z", "test_from": "2025-01-03T00:00:00Z"},
}


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
