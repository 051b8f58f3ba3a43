"""The cache after a clock went back: real executions in a real store, with times of creation as that clock had them."""

import sqlite3
from pathlib import Path

import pytest
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.types import standard_artifacts

from tfx_pipeline.runners.history import RunHistory
from tfx_pipeline.runners.step_cache import order_by_id

NAME = "quick"
HOURS = 3_600_000

# No `from __future__ import annotations` here: TFX reads the annotations of a component's function as they are.


@component
def Write(text: OutputArtifact[standard_artifacts.String], settings: Parameter[str]):
    text.value = settings


def outputs_of_a_run(folder: Path, *, cache: bool) -> int:
    """Runs the step, or takes it from the cache, and returns the id of the artifact that a next step would read."""
    connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    pipeline = tfx.dsl.Pipeline(
        pipeline_name=NAME,
        pipeline_root=str(folder / "artifacts"),
        metadata_connection_config=connection,
        components=[Write(settings="one")],
        enable_cache=cache,
    )
    LocalDagRunner().run(pipeline)
    with metadata.Metadata(connection) as store:
        history = RunHistory(store.store, NAME)
        (artifact,) = history.outputs(history.last("Write").id)["text"]
        return artifact.id


def clock_of_the_last_execution(folder: Path, *, back: int) -> None:
    with sqlite3.connect(folder / "metadata.sqlite") as database:
        database.execute(
            "UPDATE Execution SET create_time_since_epoch = create_time_since_epoch - ?"
            " WHERE id = (SELECT MAX(id) FROM Execution)",
            [back],
        )


@pytest.mark.parametrize("back", [0, 2 * HOURS, 24 * 365 * HOURS])
def test_a_step_that_was_run_anew_replaces_what_was_there(back, tmp_path, monkeypatch):
    monkeypatch.setattr(execution_lib, "sort_executions_newest_to_oldest", None)
    order_by_id()
    first = outputs_of_a_run(tmp_path, cache=True)
    assert outputs_of_a_run(tmp_path, cache=True) == first
    anew = outputs_of_a_run(tmp_path, cache=False)
    assert anew != first
    clock_of_the_last_execution(tmp_path, back=back)
    assert outputs_of_a_run(tmp_path, cache=True) == anew
    assert outputs_of_a_run(tmp_path, cache=True) == anew
