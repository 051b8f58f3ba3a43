"""One small run of the whole pipeline, shared by the tests that look at what it left."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# A run of another model: what is looked at hangs on no model, and this one is soon trained and exported.
ANOTHER = ("model.name=mean_pooling", "model.params={id_dim: 8, hidden_units: [16]}")
ANOTHER += ("training.seed=9", "training.epochs=12", "training.patience=12")


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A configuration file and the summary of its first run."""

    config_file: Path
    summary: dict[str, Any]

    @property
    def model(self) -> Path:
        """The pushed version."""
        return Path(self.summary["model_path"])


def small_config(folder: Path) -> Path:
    """The documented default on small logs, as a file in `folder`."""
    from tfx_pipeline.studies.worlds.synthetic import write_demo_logs

    write_demo_logs(folder / "data", users=150, items=120, requests=1500, candidates=6)
    values = yaml.safe_load((ROOT / "pipeline_config.yaml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(values).replace("runs/demo/data", "data").replace("runs/demo", "out")
    values = yaml.safe_load(text)
    values["model"]["params"] = {"id_dim": 8, "attention_dim": 8, "hidden_units": [16]}
    values["features"]["item"] = {
        "category": {"kind": "categorical"},
        "words": {"kind": "categorical", "column": "title", "multiple": True, "separator": " ", "max_values": 4},
    }
    values["training"] |= {"epochs": 2, "batch_size": 128}
    values["evaluation"]["thresholds"] = {"auc": {"min": 0.3}, "gauc": {"min_change": -0.5}}
    values["serving"] |= {"warmup_candidates": [1, 20], "calibration": "platt"}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    from tfx_pipeline.config import load_config
    from tfx_pipeline.runners.run import run

    folder = tmp_path_factory.mktemp("end_to_end")
    config_file = small_config(folder)
    summary = run(load_config(config_file), summary_json=folder / "summary.json").to_json()
    return FinishedRun(config_file, summary)
