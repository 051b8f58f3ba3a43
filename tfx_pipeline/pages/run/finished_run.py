"""What MLMD knows of the last run in an output folder: its steps, and where their outputs lie."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import ml_metadata as mlmd
import pyarrow as pa
import pydantic
import tensorflow as tf
from google.protobuf.message import DecodeError
from ml_metadata.proto import metadata_store_pb2

from serving import contract
from serving.export.metadata import read_json
from serving.messages import first_line
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.addresses import local
from tfx_pipeline.files.json_record import JsonRecord, RecordError
from tfx_pipeline.pipeline import content_step
from tfx_pipeline.runners.history import PEAK_MEMORY, Execution, RunHistory

_STATES = {Execution.COMPLETE: "ran", Execution.CACHED: "cached", Execution.FAILED: "failed"}
_TRAINER = "RankingTrainer"
_REFIT_TRAINER = "RefitTrainer"
_RETRIEVAL_TRAINER = "RetrievalTrainer"
Record = TypeVar("Record", bound=JsonRecord)
# What the readers of JSON, Parquet, TFRecords and protos raise at a file that is cut or is something else.
_DAMAGED = (
    json.JSONDecodeError,
    UnicodeDecodeError,
    pydantic.ValidationError,
    RecordError,
    pa.ArrowInvalid,
    DecodeError,
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
)


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """What became of one node.

    Attributes:
        node: the node's id.
        state: `ran`, `cached`, `failed` or, where it was killed, `unfinished`.
        started: milliseconds since 1970.
        seconds: from its start to the last that MLMD heard of it.
        peak_memory_mb: the most memory that was held at one moment of it, in MiB; 0 where that is not known.
    """

    node: str
    state: str
    started: int
    seconds: float
    peak_memory_mb: int = 0


@dataclasses.dataclass(frozen=True)
class ArtifactRecord:
    """One output of a node; `name` is its channel's, `path` where it lies now."""

    node: str
    name: str
    type_name: str
    number: int
    path: Path
    properties: Mapping[str, int | float | str | None]


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run of the pipeline.

    Attributes:
        output: the folder of all its runs.
        pipeline: name of the pipeline.
        run_id: TFX's id of the run, which begins with its time in UTC.
        steps: in the order in which they were started.
        artifacts: outputs of the steps that ran or were cached.
        settings: `custom_config` of the trainer: sections of the configuration as JSON, before a search of the pipeline
            changed them; empty where none ran. `retrieval` is that of the retrieval stage, where there is one.
        later_failure: the step at which a newer run failed before it had a model; None: there is no such run.
    """

    output: Path
    pipeline: str
    run_id: str
    steps: list[StepRecord]
    artifacts: list[ArtifactRecord]
    settings: Mapping[str, Any]
    later_failure: StepRecord | None

    @property
    def failed(self) -> StepRecord | None:
        """The step at which the run ended before its time."""
        return next((step for step in self.steps if step.state in ("failed", "unfinished")), None)

    def find(self, node: str, name: str) -> ArtifactRecord | None:
        """The output `name` of a node; None where the run does not have it."""
        return next((one for one in self.artifacts if (one.node, one.name) == (node, name)), None)

    def folder(self, node: str, name: str) -> Path | None:
        """Where that output lies; None where the run does not have it, or it was deleted."""
        found = self.find(node, name)
        return found.path if found is not None and found.path.is_dir() else None

    def document(self, node: str, name: str, file: str) -> Mapping[str, Any] | None:
        """A JSON file of that output; None where it is not there."""
        folder = self.folder(node, name)
        if folder is None or not (folder / file).is_file():
            return None
        with self.reading(node, name, file):
            values: Mapping[str, Any] = json.loads((folder / file).read_text(encoding="utf-8"))
        return values

    def record(self, kind: type[Record], node: str, name: str, file: str) -> Record | None:
        """A JSON file of that output as the dataclass that was written there; None where it is not there."""
        values = self.document(node, name, file)
        if values is None:
            return None
        with self.reading(node, name, file):
            return kind.from_json(values)

    @contextlib.contextmanager
    def reading(self, node: str, name: str, file: str = "") -> Iterator[None]:
        """While that output is read: what a library says of a damaged file becomes a sentence.

        Raises:
            DataError: the output is damaged.
        """
        try:
            yield
        except _DAMAGED as error:
            found = self.find(node, name)
            place = found.path / file if found is not None else f"the {name} of {node}"
            raise DataError(
                f"{place} cannot be read: {first_line(error)}; if it is damaged, dmf run --no-cache {node} makes "
                "it anew"
            ) from None

    @property
    def model_dir(self) -> Path | None:
        """The exported model; None where the run has none, or it was deleted."""
        folder = self.folder(_TRAINER, "model")
        exported = folder / "Format-Serving" if folder is not None else None
        return exported if exported is not None and exported.is_dir() else None

    @property
    def content_step(self) -> str:
        """The node that made the content table of the run's models."""
        return content_step([step.node for step in self.steps])

    @functools.cached_property
    def metadata(self) -> Mapping[str, Any] | None:
        """What the exported model says of its making; None where there is no model, or it carries none."""
        with self.reading(_TRAINER, "model"):
            return read_json(self.model_dir, contract.METADATA_FILE) if self.model_dir is not None else None

    @functools.cached_property
    def refit(self) -> str | None:
        """The sentence about the refit that was made to be pushed; None where there was none, or it was deleted."""
        values = self.document(_REFIT_TRAINER, "model", f"Format-Serving/{contract.METADATA_FILE}")
        return None if values is None else str(values["refit"]["note"])

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of the configuration that the model was trained with; empty where none was.

        A search of the pipeline changes sections after the trainer was given them: the model knows them as they were.
        """
        made_with = self.metadata["config"] if self.metadata is not None else {}
        text = self.settings.get(name)
        section: Mapping[str, Any] = made_with[name] if name in made_with else json.loads(text or "{}")
        return section


def read_run(output: Path) -> FinishedRun:
    """The newest run that has a model; where none has, the newest.

    Runs that were only asked for the data (`dmf compare`, `dmf tune`) are so passed over.

    Args:
        output: `output` of the configuration; it may have been moved since.

    Raises:
        DataError: no run lies there.
    """
    database = output / "metadata.sqlite"
    if not database.is_file():
        raise DataError(f"{output} holds no run: no {database.name}; expected the output folder of a `dmf run`")
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(database)
    connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    try:
        return _newest(mlmd.MetadataStore(connection), output)
    # A file that is no database fails in the constructor, with an error of no kind of its own.
    except (mlmd.errors.StatusError, RuntimeError):
        raise DataError(
            f"{database} cannot be read as a metadata store; expected the output folder of a `dmf run`. One that is "
            "damaged cannot be repaired: run the pipeline with another output"
        ) from None


def _newest(store: mlmd.MetadataStore, output: Path) -> FinishedRun:
    runs = sorted(store.get_contexts_by_type("pipeline_run"), key=lambda context: -context.id)
    newer: list[tuple[str, dict[str, Execution]]] = []
    for context in runs:
        nodes = _executions(store, context.id)
        if _has_model(nodes):
            run_id = context.name
            break
        if nodes:
            newer.append((context.name, nodes))
    else:
        if not newer:
            raise DataError(f"{output}: no step of a run has been started yet; wait for `dmf run`")
        (run_id, nodes), newer = newer[0], []
    later = [_step(node, execution) for _, others in newer for node, execution in others.items()]
    retrieval = _settings(nodes.get(_RETRIEVAL_TRAINER))
    settings = _settings(nodes.get(_TRAINER)) | {name: retrieval[name] for name in ("retrieval",) if name in retrieval}
    pipeline = _context(store, next(iter(nodes.values())), "pipeline")
    history = RunHistory(store, pipeline)
    return FinishedRun(
        output=output,
        pipeline=pipeline,
        run_id=run_id,
        steps=[_step(node, execution) for node, execution in nodes.items()],
        artifacts=[one for node, execution in nodes.items() for one in _artifacts(history, node, execution, output)],
        settings=settings,
        later_failure=next((step for step in later if step.state == "failed"), None),
    )


def _executions(store: mlmd.MetadataStore, run: int) -> dict[str, Execution]:
    """Executions of a run by node, in the order in which they began."""
    executions = sorted(store.get_executions_by_context(run), key=lambda one: one.id)
    return {_context(store, one, "node").partition(".")[2]: one for one in executions}


def _context(store: mlmd.MetadataStore, execution: Execution, type_name: str) -> str:
    """Name of the one context of that type that TFX puts every execution into; a node's is PIPELINE.NODE."""
    type_id = store.get_context_type(type_name).id
    names: list[str] = [one.name for one in store.get_contexts_by_execution(execution.id) if one.type_id == type_id]
    return names[0]


def _has_model(nodes: dict[str, Execution]) -> bool:
    trainer = nodes.get(_TRAINER)
    return trainer is not None and trainer.last_known_state in (Execution.COMPLETE, Execution.CACHED)


def _step(node: str, execution: Execution) -> StepRecord:
    started, ended = execution.create_time_since_epoch, execution.last_update_time_since_epoch
    state = _STATES.get(execution.last_known_state, "unfinished")
    held = execution.custom_properties[PEAK_MEMORY].int_value if PEAK_MEMORY in execution.custom_properties else 0
    return StepRecord(node, state, started, (ended - started) / 1000, held)


def _settings(trainer: Execution | None) -> dict[str, Any]:
    """What a step that trains was given; empty where it did not run."""
    # A property of the component's own, or one that it has from TFX's Trainer.
    properties = {**trainer.properties, **trainer.custom_properties} if trainer is not None else {}
    text = properties["custom_config"].string_value if "custom_config" in properties else ""
    settings: dict[str, Any] = json.loads(text) if text else {}
    return settings


def _artifacts(history: RunHistory, node: str, execution: Execution, output: Path) -> list[ArtifactRecord]:
    if execution.last_known_state not in (Execution.COMPLETE, Execution.CACHED):
        return []
    records = []
    for name, artifacts in history.outputs(execution.id).items():
        for artifact in artifacts:
            properties = {key: _plain(value) for key, value in artifact.mlmd_artifact.custom_properties.items()}
            path = _moved(local(artifact.uri), output)
            records.append(ArtifactRecord(node, name, artifact.type_name, artifact.id, path, properties))
    return records


def _plain(value: metadata_store_pb2.Value) -> Any:
    return getattr(value, value.WhichOneof("value")) if value.WhichOneof("value") else None


def _moved(written: Path, output: Path) -> Path:
    """An artifact's folder below `output`, where it has the same node, output and number wherever the run was made."""
    here = Path(output, "artifacts", *written.parts[-3:])
    return here if here.exists() else written
