"""Runs the pipeline on this machine, step by step, and says of each whether it ran, why, and how long it took."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from tfx_pipeline.config.schema import Beam, PipelineConfig
from tfx_pipeline.console import console
from tfx_pipeline.data.content.build import check_content_sources
from tfx_pipeline.data.logs.checks import check_sources
from tfx_pipeline.errors import ConfigError, DataError, PipelineError, own_error
from tfx_pipeline.files.stored_versions import version_exists
from tfx_pipeline.files.writing import write_bytes
from tfx_pipeline.pipeline import create_pipeline, metadata_path
from tfx_pipeline.runners import beam_files, beam_graphs
from tfx_pipeline.runners.beam_args import runner_args
from tfx_pipeline.runners.cache_keys import fingerprints
from tfx_pipeline.runners.history import Execution, RunHistory
from tfx_pipeline.runners.metadata_store import check_store
from tfx_pipeline.runners.peak_memory import PeakMemory
from tfx_pipeline.runners.step_cache import order_by_id
from tfx_pipeline.runners.step_outputs import StepOutputs
from tfx_pipeline.training.retrieval.approximate import check_library

# Seconds between two looks at the memory of a step.
_LOOKS = 0.5


@dataclasses.dataclass(frozen=True)
class Step:
    """What became of one node of the pipeline.

    Attributes:
        node: the node's id.
        state: `ran` or `cached`.
        reason: why it ran, or that nothing had changed.
        seconds: wall time, look-up of inputs included.
        execution_id: MLMD id of the execution.
        peak_memory_mb: the most that the process and its descendants held at one moment of the step, in MiB, what they
            held before included; 0 of a step from the cache.
    """

    node: str
    state: str
    reason: str
    seconds: float
    execution_id: int
    peak_memory_mb: int = 0


class StepFailed(PipelineError):
    """A step ended in an error that is not one of ours: the log has the traceback."""


def check_inputs(config: PipelineConfig) -> None:
    """Looks whether the steps can have what they need.

    Raises:
        DataError: a table or an embedding file is absent or lacks what the configuration names.
        ConfigError: a library is missing that the configuration needs.
    """
    if config.stages is not None:
        check_library(config.stages.retrieval.approximate)
    check_sources(config)
    check_content_sources(config)


def run_pipeline(
    config: PipelineConfig, *, uncached: Collection[str] = (), until: str | None = None, verify: bool = False
) -> list[Step]:
    """Runs the steps in order; a step whose inputs, parameters and code are unchanged is taken from the cache.

    Args:
        config: the validated configuration.
        uncached: ids of nodes that run in any case; `all` stands for every node.
        until: id of the last node to run; None: the last of the pipeline.
        verify: whether outputs of before are compared by checksum, and not only by size; those that the Pusher reads
            are in any case.

    Returns:
        One entry per step, in order.

    Raises:
        PipelineError: a step refused its input, or failed; steps before it keep their outputs for the next run. Or what
            earlier steps left has changed since.
        ConfigError: `uncached` names a node that the pipeline lacks.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    check_store(config)
    schema = _schema_by_content(config)
    if schema is not None and not schema.path.exists():
        write_bytes(schema.path, schema.text)
    ir = compile_pipeline(config, uncached)
    nodes = [node.pipeline_node for node in ir.nodes]
    if until is not None:
        nodes = nodes[: [node.node_info.id for node in nodes].index(until) + 1]
    connection = metadata.sqlite_metadata_connection_config(str(metadata_path(config)))
    steps: list[Step] = []
    outputs = StepOutputs()
    for number, node in enumerate(nodes, start=1):
        if node.node_info.id == "Pusher" and must_push_again(connection, config.name, trainer_of(node)):
            node.execution_options.caching_options.enable_cache = False
        with console().status(f"[{number}/{len(nodes)}] {node.node_info.id}"):
            outputs.check(list(node.upstream_nodes), checksums=node.node_info.id == "Pusher")
            step = run_node(ir, node, connection)
            with metadata.Metadata(connection) as store:
                made = RunHistory(store.store, config.name).outputs(step.execution_id)
            outputs.add(step.node, made, fresh=step.state == "ran", checksums=verify)
        steps.append(step)
        console().print(f"[{number}/{len(nodes)}] {step.node}: {step.state} in {step.seconds:.1f} s ({step.reason})")
    return steps


def compile_pipeline(config: PipelineConfig, uncached: Collection[str] = ()) -> pipeline_pb2.Pipeline:
    """The pipeline as a run of its own, in which the nodes of `uncached` take nothing from the cache. Writes nothing.

    Raises:
        ConfigError: `uncached` names a node that the pipeline lacks.
    """
    config = config.model_copy(update={"beam": Beam(args=runner_args(config.beam.args))})
    schema = _schema_by_content(config)
    schema_file = None if schema is None else schema.path
    ir = compiler.Compiler().compile(create_pipeline(config, fingerprints(config), schema_file=schema_file))
    # To the microsecond: TFX takes a second run of one id for the first, and runs nothing that has succeeded there.
    run_id = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S.%f}"
    runtime_parameter_utils.substitute_runtime_parameter(ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}
    unknown = sorted(set(uncached) - set(nodes) - {"all"})
    if unknown:
        raise ConfigError(f"--no-cache names {', '.join(unknown)}; the steps are: {', '.join(nodes)}")
    for name in nodes if "all" in uncached else uncached:
        nodes[name].execution_options.caching_options.enable_cache = False
    return ir


def trainer_of(pusher: pipeline_pb2.PipelineNode) -> str:
    """Id of the node whose model the Pusher pushes."""
    node: str = pusher.inputs.inputs["model"].channels[0].producer_node_query.id
    return node


def must_push_again(connection: object, pipeline_name: str, trainer: str) -> bool:
    """Whether the last push was of another model than this run's, or has been deleted since.

    The Pusher's cache would then name a version that is not the newest, which is the one that servers take, or none.

    Args:
        connection: to the metadata store.
        pipeline_name: whose runs they are.
        trainer: the node that made this run's model.
    """
    with metadata.Metadata(connection) as store:
        history = RunHistory(store.store, pipeline_name)
        (model,) = history.outputs(history.last(trainer).id)["model"]
        for execution in reversed(history.complete("Pusher")):
            (pushed,) = history.outputs(execution.id)["pushed_model"]
            if destination := pushed.get_string_custom_property("pushed_destination"):
                (last_model,) = history.inputs(execution.id)["model"]
                return last_model.id != model.id or not version_exists(destination)
    return False


def run_node(
    ir: pipeline_pb2.Pipeline,
    node: pipeline_pb2.PipelineNode,
    connection: object,
    launch_with: type[launcher.Launcher] = launcher.Launcher,
) -> Step:
    """Runs a node of the pipeline, or takes its outputs from the cache.

    Args:
        ir: by `compile_pipeline`.
        node: one of its nodes; those before it have run.
        connection: to the metadata store.
        launch_with: what runs it.

    Raises:
        PipelineError: the step refused its input, or failed.
    """
    node_id, pipeline_name = node.node_info.id, ir.pipeline_info.id
    deployment = runner_utils.extract_local_deployment_config(ir)
    started = time.monotonic()
    with metadata.Metadata(connection) as store:
        history = RunHistory(store.store, pipeline_name)
        previous = history.last_complete(node_id)
    order_by_id()
    beam_graphs.remember()
    beam_files.compress_fast()
    component_launcher = launch_with(
        pipeline_node=node,
        mlmd_connection=metadata.Metadata(connection),
        pipeline_info=ir.pipeline_info,
        pipeline_runtime_spec=ir.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
    )
    try:
        with PeakMemory(every=_LOOKS) as memory:
            component_launcher.launch()
    except PipelineError:
        raise
    # Whatever an executor of TFX, Beam or TensorFlow raised: the user gets the sentence, the log the traceback.
    except Exception as error:
        cause = own_error(error)
        if cause is not None:
            raise cause from None
        raise StepFailed(f"{node_id} failed: {type(error).__name__}: {str(error).strip()[:500]}") from error
    with metadata.Metadata(connection) as store:
        history = RunHistory(store.store, pipeline_name)
        execution = history.last(node_id)
        # TFX returns quietly from a step whose inputs it cannot resolve.
        if execution.last_known_state not in (Execution.COMPLETE, Execution.CACHED):
            raise StepFailed(f"{node_id} did not run: its inputs could not be resolved")
        state, reason = history.explain(execution, previous)
        held = memory.seen_mebibytes if state == "ran" else 0
        if held:
            history.note_memory(execution, held)
    return Step(node_id, state, reason, time.monotonic() - started, execution.id, held)


class _Schema(NamedTuple):
    path: Path
    text: bytes


def _schema_by_content(config: PipelineConfig) -> _Schema | None:
    """The curated schema, and a path that names its content, as TFX caches an import by its path alone."""
    source = config.data.schema_file
    if source is None:
        return None
    try:
        text = source.read_bytes()
    except OSError as error:
        raise DataError(f"data.schema_file: cannot read {source}: {error.strerror}") from None
    return _Schema(config.output / "schema" / hashlib.sha256(text).hexdigest()[:16] / "schema.pbtxt", text)
