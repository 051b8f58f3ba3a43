"""Runs the component's executor for real, through Beam's DirectRunner, on small logs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pandas as pd
import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from tfx_pipeline.components.artifacts import IngestionReport
from tfx_pipeline.components.behavior_log_example_gen.executor import Executor
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.runners import beam_graphs
from tfx_pipeline.runners.beam_args import runner_args

IN_MEMORY = ("--runner=DirectRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1")


@dataclasses.dataclass
class Run:
    """Output of one execution: decoded examples by split, in the order of the files, and the report."""

    folder: Path
    artifact: standard_artifacts.Examples
    examples: dict[str, list[dict[str, list]]]
    report: dict[str, Any]
    quarantine: list[dict[str, Any]]


def _decode(path: Path) -> list[dict[str, list]]:
    decoded = []
    for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        decoded.append({name: list(getattr(f, f.WhichOneof("kind")).value) for name, f in features.items()})
    return decoded


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Writes rows as Parquet, CSV or JSONL, by the file's ending."""
    frame = pd.DataFrame(rows)
    if path.suffix == ".parquet":
        frame.to_parquet(path, row_group_size=7)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., IngestionConfig]:
    """Returns make_config(log rows, ending=..., users=..., data=..., interactions=..., **sections)."""

    def make(rows: list[dict[str, Any]], ending: str = "jsonl", **sections: Any) -> IngestionConfig:
        log = write_table(tmp_path / f"log.{ending}", rows)
        items = write_table(tmp_path / "items.csv", [{"item_id": f"i{n}"} for n in range(20)])
        data = {
            "interactions": {"path": log, "time_unit": "s", **sections.pop("interactions", {})},
            "items": {"path": items},
            **sections.pop("data", {}),
        }
        if "users" in sections:
            data["users"] = {"path": write_table(tmp_path / "users.jsonl", sections.pop("users"))}
        sections.setdefault("split", {"fractions": {}})
        return IngestionConfig.model_validate({"data": data, **sections})

    return make


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Returns run(config, beam_args): what one execution wrote. Refused runs leave files in `tmp_path/failure`."""

    def execute(config: IngestionConfig, beam_args: tuple[str, ...] = IN_MEMORY) -> Run:
        folder = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        examples, report = standard_artifacts.Examples(), IngestionReport()
        examples.uri, report.uri = str(folder / "examples"), str(folder / "report")
        beam_graphs.remember()
        # Given arguments instead of a function, TFX would first build a package of itself: seconds that test nothing.
        context = BaseBeamExecutor.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(argv=runner_args(beam_args)))
        properties = {
            "config": config.to_json(),
            "source_fingerprint": "",
            "code_digest": "",
            "failure_dir": str(tmp_path / "failure"),
        }
        Executor(context).Do({}, {"examples": [examples], "report": [report]}, properties)
        shards = {split: sorted((folder / "examples" / f"Split-{split}").iterdir()) for split in SPLITS}
        return Run(
            folder=folder,
            artifact=examples,
            examples={split: [row for shard in paths for row in _decode(shard)] for split, paths in shards.items()},
            report=json.loads((folder / "report/report.json").read_text()),
            quarantine=[json.loads(line) for line in (folder / "report/quarantine.jsonl").read_text().splitlines()],
        )

    return execute
