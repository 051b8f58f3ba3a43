"""The component's wiring, and that TFX's cache follows what decides its output."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx import v1 as tfx
from tfx.orchestration import metadata

from tfx_pipeline.components.artifacts import IngestionReport
from tfx_pipeline.components.behavior_log_example_gen.component import BehaviorLogExampleGen
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import PipelineConfig

BASE: dict[str, Any] = {
    "name": "test",
    "output": "/out",
    "data": {"interactions": {"path": "/logs"}, "items": {"path": "/items.csv"}, "users": {"path": "/users.csv"}},
    "split": {"fractions": {}},
    "features": {
        "user": {"age": {"kind": "numeric"}, "city": {"kind": "categorical"}},
        "context": {"device": {"kind": "categorical"}},
    },
    "content": {"modalities": {"text": {"path": "/text.parquet"}}},
}


def _config(**changes: Any) -> PipelineConfig:
    return PipelineConfig.model_validate({**BASE, **changes})


def _properties(config: PipelineConfig, fingerprint: str = "f", code: str = "c") -> dict[str, Any]:
    return BehaviorLogExampleGen(config, fingerprint, code).exec_properties


def test_outputs_and_no_side_effects(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"building the component touched {args}")

    config = _config()
    with monkeypatch.context() as patched:
        for name in ("open", "mkdir", "makedirs", "listdir", "stat"):
            patched.setattr(os, name, refuse)
        patched.setattr("builtins.open", refuse)
        component = BehaviorLogExampleGen(config, "f", "c")
    assert component.outputs["examples"].type is tfx.types.standard_artifacts.Examples
    assert component.outputs["report"].type is IngestionReport
    assert component.inputs == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"epochs": 9}},
        {"evaluation": {"rare_below": 7}},
        {"content": {"modalities": {"image": {"path": "/image.parquet"}}}},
        {"data": {**BASE["data"], "schema_file": "/schema.pbtxt"}},
        {"data": {**BASE["data"], "items": {"path": "/items.csv", "title_column": "title"}}},
        {"features": {**BASE["features"], "item_id": {"min_count": 5}}},
        {"features": {**BASE["features"], "user": {k: BASE["features"]["user"][k] for k in ("city", "age")}}},
        {"features": {**BASE["features"], "context": {"device": {"kind": "categorical", "oov_buckets": 9}}}},
    ],
)
def test_what_ingestion_does_not_use_does_not_run_it_again(changes: dict[str, Any]) -> None:
    assert _properties(_config(**changes)) == _properties(_config())


@pytest.mark.parametrize(
    "changes",
    [
        {"history": {"max_length": 49}},
        {"history": {"delay_s": 1}},
        {"split": {"fractions": {"train": 0.7, "eval": 0.2, "test": 0.1}}},
        {"data": {**BASE["data"], "max_bad_fraction": 0.5}},
        {"data": {**BASE["data"], "interactions": {"path": "/logs", "time_unit": "ms"}}},
        {"features": {**BASE["features"], "context": {"device": {"kind": "numeric"}}}},
        {"features": {**BASE["features"], "user": {}}},
    ],
)
def test_what_ingestion_uses_runs_it_again(changes: dict[str, Any]) -> None:
    assert _properties(_config(**changes)) != _properties(_config())


def test_files_and_code_run_it_again() -> None:
    seen = [_properties(_config(), fingerprint, code) for fingerprint, code in (("f", "c"), ("g", "c"), ("f", "d"))]
    assert len({str(sorted(properties.items())) for properties in seen}) == 3


def test_ingestion_config_survives_its_json() -> None:
    ingestion = IngestionConfig.of(_config())
    assert IngestionConfig.model_validate_json(ingestion.to_json()) == ingestion
    assert ingestion.profile == {"age": "numeric", "city": "categorical"}
    assert ingestion.log_columns == ("user_id", "item_id", "timestamp", "label", "device")


@pytest.mark.slow
def test_a_second_run_of_the_pipeline_uses_the_cache(make_config: Callable, tmp_path: Path) -> None:
    rows = [
        {"user_id": f"u{n % 3}", "item_id": f"i{n % 7}", "timestamp": 1_600_000_000 + n, "label": n % 2}
        for n in range(100)
    ]
    ingestion = make_config(rows, split={"fractions": {}})
    config = _config(output=str(tmp_path), data=ingestion.data.model_dump(mode="json"), features={})
    database = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.db"))

    def execute(fingerprint: str) -> None:
        pipeline = tfx.dsl.Pipeline(
            pipeline_name="test",
            pipeline_root=str(tmp_path / "root"),
            components=[BehaviorLogExampleGen(config, fingerprint, "c")],
            enable_cache=True,
            metadata_connection_config=database,
            beam_pipeline_args=["--runner=DirectRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1"],
        )
        tfx.orchestration.LocalDagRunner().run(pipeline)

    for fingerprint in ("monday", "monday", "tuesday"):
        execute(fingerprint)
    with metadata.Metadata(database) as store:
        executions = sorted(store.store.get_executions(), key=lambda execution: execution.id)
        states = [type(e).State.Name(e.last_known_state) for e in executions]
        assert states == ["COMPLETE", "CACHED", "COMPLETE"]
        assert len(store.store.get_artifacts_by_type("Examples")) == 2
        assert len(store.store.get_artifacts_by_type("IngestionReport")) == 2
