"""What MLMD remembers of earlier runs: the last execution of a step, and why the next one had to run."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx.types import artifact_utils

Execution: TypeAlias = metadata_store_pb2.Execution

# Of an execution that ran: the most memory that was held at once, in MiB.
PEAK_MEMORY = "peak_memory_mb"

# Properties that differ from run to run: those that TFX adds to every execution, and ours.
_BOOKKEEPING = frozenset(
    {"pipeline_root", "pipeline_name", "run_id", "component_id", "state", "checksum_md5", PEAK_MEMORY}
)

# Beam's arguments are part of the cache's key, but not of what MLMD keeps of an execution.
_NO_CHANGE_SEEN = "asked to, its outputs are gone, or Beam's arguments changed"


class RunHistory:
    """Executions and artifacts of one pipeline.

    Args:
        store: the MLMD store.
        pipeline_name: name of the pipeline.
    """

    def __init__(self, store: mlmd.MetadataStore, pipeline_name: str):
        self._store = store
        self._pipeline = pipeline_name

    def executions(self, node: str) -> list[Execution]:
        """All executions of a node, oldest first."""
        context = self._store.get_context_by_type_and_name("node", f"{self._pipeline}.{node}")
        if context is None:
            return []
        return sorted(self._store.get_executions_by_context(context.id), key=lambda execution: execution.id)

    def last(self, node: str) -> Execution:
        """The newest execution of a node, which must have one."""
        return self.executions(node)[-1]

    def complete(self, node: str) -> list[Execution]:
        """The executions that really ran, and to their end, oldest first."""
        return [e for e in self.executions(node) if e.last_known_state == Execution.COMPLETE]

    def last_complete(self, node: str) -> Execution | None:
        """The newest execution that really ran to its end."""
        complete = self.complete(node)
        return complete[-1] if complete else None

    def note_memory(self, execution: Execution, mebibytes: int) -> None:
        """Keeps with a finished execution the most memory that it held at once."""
        execution.custom_properties[PEAK_MEMORY].int_value = mebibytes
        self._store.put_executions([execution])

    def explain(self, execution: Execution, previous: Execution | None) -> tuple[str, str]:
        """State (`ran` or `cached`) of an execution, and the reason in words.

        Args:
            execution: the execution in question, finished.
            previous: the last complete execution before it.
        """
        if execution.last_known_state == Execution.CACHED:
            return "cached", "nothing changed"
        if previous is None:
            return "ran", "first run"
        if self._store.get_execution_types_by_id([execution.type_id])[0].name.endswith("Resolver"):
            return "ran", "looks up anew in every run"
        changes = self._changed_properties(previous, execution) + self._changed_inputs(previous, execution)
        return "ran", f"changed: {', '.join(changes)}" if changes else _NO_CHANGE_SEEN

    def inputs(self, execution_id: int) -> dict[str, list[Any]]:
        """Input artifacts of an execution by channel, as TFX artifacts."""
        return self._artifacts(execution_id, output=False)

    def outputs(self, execution_id: int) -> dict[str, list[Any]]:
        """Output artifacts of an execution by channel, as TFX artifacts."""
        return self._artifacts(execution_id, output=True)

    def _changed_properties(self, old: Execution, new: Execution) -> list[str]:
        def values(execution: Execution) -> dict[str, Any]:
            both = {**execution.properties, **execution.custom_properties}
            return {k: _plain(v) for k, v in both.items() if k not in _BOOKKEEPING and not k.startswith("__")}

        before, after = values(old), values(new)
        changed = []
        for key in sorted(set(before) | set(after)):
            if before.get(key) != after.get(key):
                inner = _changed_keys(before.get(key), after.get(key))
                changed += [f"{key}.{name}" for name in inner] or [key]
        return changed

    def _changed_inputs(self, old: Execution, new: Execution) -> list[str]:
        before = {key: [a.id for a in values] for key, values in self.inputs(old.id).items()}
        after = {key: [a.id for a in values] for key, values in self.inputs(new.id).items()}
        return [f"input {key}" for key in sorted(set(before) | set(after)) if before.get(key) != after.get(key)]

    def _artifacts(self, execution_id: int, *, output: bool) -> dict[str, list[Any]]:
        kinds = {metadata_store_pb2.Event.OUTPUT} if output else {metadata_store_pb2.Event.INPUT}
        events = [e for e in self._store.get_events_by_execution_ids([execution_id]) if e.type in kinds]
        artifacts = {a.id: a for a in self._store.get_artifacts_by_id([e.artifact_id for e in events])}
        types = {t.id: t for t in self._store.get_artifact_types_by_id([a.type_id for a in artifacts.values()])}
        result: dict[str, list[Any]] = {}
        for event in events:
            artifact = artifacts[event.artifact_id]
            key = event.path.steps[0].key
            result.setdefault(key, []).append(artifact_utils.deserialize_artifact(types[artifact.type_id], artifact))
        return result


def _plain(value: metadata_store_pb2.Value) -> Any:
    return getattr(value, value.WhichOneof("value")) if value.WhichOneof("value") else None


def _changed_keys(before: Any, after: Any) -> list[str]:
    """Names inside two JSON objects that differ; empty when either is none."""
    try:
        old, new = json.loads(before), json.loads(after)
    except (TypeError, ValueError):
        return []
    if not isinstance(old, dict) or not isinstance(new, dict):
        return []
    return [key for key in sorted(set(old) | set(new)) if old.get(key) != new.get(key)]
