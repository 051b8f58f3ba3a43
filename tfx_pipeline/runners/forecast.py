"""What a run would do: which steps would run and why, and which would come from the cache. Nothing is written."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tfx.orchestration import metadata
from tfx.orchestration.portable import launcher
from tfx.proto.orchestration import pipeline_pb2

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console
from tfx_pipeline.errors import PipelineError
from tfx_pipeline.pipeline import metadata_path
from tfx_pipeline.runners.history import RunHistory
from tfx_pipeline.runners.local import compile_pipeline, must_push_again, run_node, trainer_of
from tfx_pipeline.runners.metadata_store import check_store
from tfx_pipeline.runners.step_outputs import StepOutputs

WOULD_RUN, CACHED = "would run", "cached"


class Forecast(NamedTuple):
    """What a run would do with one node: `would run` or `cached`, and why."""

    node: str
    state: str
    reason: str


def forecast(
    config: PipelineConfig,
    scratch: Path,
    *,
    uncached: Collection[str] = (),
    verify: bool = False,
    rebuild_metadata: bool = False,
) -> list[Forecast]:
    """Asks the cache of every step in order, as a run would, but in a copy of the metadata store.

    A step behind one that would run would run too: it reads what that one makes anew.

    Args:
        config: the validated configuration.
        scratch: an empty folder of this call alone.
        uncached: ids of nodes that would run in any case; `all` stands for every node.
        verify: whether outputs of before are compared by checksum, and not only by size.
        rebuild_metadata: whether the run would begin with an empty store.

    Raises:
        PipelineError: the store is damaged, or outputs in the cache have changed since; a run would refuse it too.
        ConfigError: `uncached` names a node that the pipeline lacks.
    """
    if not rebuild_metadata:
        check_store(config)
    ir = compile_pipeline(config, uncached)
    store = scratch / "metadata.sqlite"
    if metadata_path(config).exists() and not rebuild_metadata:
        _copy(metadata_path(config), store)
    # The launcher makes folders for outputs before it asks for them to be filled.
    ir.runtime_spec.pipeline_root.field_value.string_value = str(scratch / "artifacts")
    return _ask(ir, metadata.sqlite_metadata_connection_config(str(store)), verify)


def _ask(ir: pipeline_pb2.Pipeline, connection: object, verify: bool) -> list[Forecast]:
    found: list[Forecast] = []
    anew: set[str] = set()
    outputs = StepOutputs()
    for node in (node.pipeline_node for node in ir.nodes):
        name = node.node_info.id
        changed = [upstream for upstream in node.upstream_nodes if upstream in anew]
        if changed:
            found.append(Forecast(name, WOULD_RUN, f"reads what {', '.join(sorted(changed))} would make anew"))
            anew.add(name)
            continue
        if name == "Pusher" and must_push_again(connection, ir.pipeline_info.id, trainer_of(node)):
            node.execution_options.caching_options.enable_cache = False
        try:
            with console().status(name):
                step = run_node(ir, node, connection, _Asks)
        except _WouldRun:
            found.append(Forecast(name, WOULD_RUN, _why(name, connection, ir.pipeline_info.id)))
            anew.add(name)
            continue
        with metadata.Metadata(connection) as store:
            made = RunHistory(store.store, ir.pipeline_info.id).outputs(step.execution_id)
        outputs.add(name, made, fresh=False, checksums=verify)
        # What looks up anew has done so, in the copy.
        found.append(Forecast(name, CACHED if step.state == "cached" else WOULD_RUN, step.reason))
    return found


class _WouldRun(PipelineError):
    """The step has nothing in the cache."""


class _Asks(launcher.Launcher):
    """Does all that TFX does before a step runs, and does not run it."""

    def _run_executor(self, _execution: Any) -> NoReturn:
        raise _WouldRun


def _why(node: str, connection: object, pipeline: str) -> str:
    with metadata.Metadata(connection) as store:
        history = RunHistory(store.store, pipeline)
        return history.explain(history.last(node), history.last_complete(node))[1]


def _copy(store: Path, copy: Path) -> None:
    """A copy that is whole, also while a run writes to the store."""
    with (
        contextlib.closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
