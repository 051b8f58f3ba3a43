"""Runs a compiled pipeline as Kubeflow's driver and launcher do, on this machine.

Step by step, in the order of their dependencies: makes the step's ExecutorInput, brings its input artifacts from the
object store to where the launcher puts them, runs the container's own command in a process of its own, and takes the
artifacts it wrote, and what it says of them, on to the store and the next step.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

Artifact = dict[str, Any]


def read_spec(file: Path) -> pipeline_spec_pb2.PipelineSpec:
    """The PipelineSpec of a compiled YAML; a field that KFP does not know is an error."""
    spec = next(iter(yaml.safe_load_all(file.read_text(encoding="utf-8"))))
    return json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())


@dataclasses.dataclass
class Launcher:
    """What it has of a cluster: a store, a folder per container's root, and what a run was given.

    Attributes:
        spec: the compiled pipeline.
        root: of artifacts, an address.
        scratch: folder for what containers have of their own.
        environment: of the containers.
        parameters: of the run, in place of defaults.
    """

    spec: pipeline_spec_pb2.PipelineSpec
    root: str
    scratch: Path
    environment: dict[str, str]
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    made: dict[str, dict[str, list[Artifact]]] = dataclasses.field(default_factory=dict)

    def run(self) -> None:
        """Runs all steps."""
        tasks = dict(self.spec.root.dag.tasks)
        while tasks:
            ready = [name for name in tasks if not set(tasks[name].dependent_tasks) & set(tasks)]
            assert ready, f"steps wait for each other: {sorted(tasks)}"
            for name in sorted(ready):
                self.run_task(name)
                del tasks[name]

    def run_task(self, name: str) -> None:
        """Runs one step, whose inputs are made."""
        component = self.spec.components[self.spec.root.dag.tasks[name].component_ref.name]
        executors = self.spec.deployment_spec["executors"]
        container = executors[component.executor_label]["container"]
        mounts = self.scratch / name
        mounts.mkdir()
        output_file = mounts / "kfp_outputs" / "output_metadata.json"
        executor_input = self._executor_input(name, component, output_file)
        for artifacts in executor_input["inputs"]["artifacts"].values():
            for artifact in artifacts["artifacts"]:
                self._download(artifact["uri"], mounts)
        for artifacts in executor_input["outputs"]["artifacts"].values():
            for artifact in artifacts["artifacts"]:
                _local(artifact["uri"], mounts).parent.mkdir(parents=True, exist_ok=True)
        filled = json.dumps(executor_input)
        command = [argument.replace("{{$}}", filled) for argument in [*container["command"], *container["args"]]]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        result = subprocess.run(
            command,
            env={**os.environ, **self.environment, "PATH": path, "DMF_MOUNTS": str(mounts)},
            cwd=mounts,
            capture_output=True,
            text=True,
            check=False,
        )
        (self.scratch / f"{name}.log").write_text(result.stdout + result.stderr, encoding="utf-8")
        if result.returncode:
            raise StepFailed(name, result.stderr)
        answer = json_format.ParseDict(
            json.loads(output_file.read_text(encoding="utf-8")), pipeline_spec_pb2.ExecutorOutput()
        )
        self.made[name] = {}
        for key, artifacts in executor_input["outputs"]["artifacts"].items():
            (artifact,) = artifacts["artifacts"]
            (said,) = answer.artifacts[key].artifacts
            metadata = {**artifact.get("metadata", {}), **json_format.MessageToDict(said.metadata)}
            assert said.uri == artifact["uri"]
            self._upload(artifact["uri"], mounts)
            self.made[name][key] = [{**artifact, "metadata": metadata}]

    def _executor_input(self, name: str, component: Any, output_file: Path) -> dict[str, Any]:
        task = self.spec.root.dag.tasks[name]
        values: dict[str, Any] = {}
        for key, value in task.inputs.parameters.items():
            if value.WhichOneof("kind") == "component_input_parameter":
                declared = self.spec.root.input_definitions.parameters[value.component_input_parameter]
                default = json_format.MessageToDict(declared.default_value)
                values[key] = self.parameters.get(value.component_input_parameter, default)
            else:
                values[key] = json_format.MessageToDict(value.runtime_value.constant)
        inputs = {
            key: {
                "artifacts": self.made[source.task_output_artifact.producer_task][
                    source.task_output_artifact.output_artifact_key
                ]
            }
            for key, source in task.inputs.artifacts.items()
        }
        outputs = {
            key: {
                "artifacts": [
                    {
                        "name": key,
                        "uri": f"{self.root}/{name}/{key}",
                        "type": json_format.MessageToDict(declared.artifact_type),
                        "metadata": json_format.MessageToDict(declared.metadata),
                    }
                ]
            }
            for key, declared in component.output_definitions.artifacts.items()
        }
        executor_input = {
            "inputs": {"parameterValues": values, "artifacts": inputs},
            "outputs": {"artifacts": outputs, "outputFile": str(output_file)},
        }
        json_format.ParseDict(executor_input, pipeline_spec_pb2.ExecutorInput())
        return executor_input

    def _download(self, uri: str, mounts: Path) -> None:
        store, path = fsspec.core.url_to_fs(uri)
        store.invalidate_cache()
        found = store.find(path)
        assert found, f"{uri} is empty"
        for name in found:
            file = _local(uri, mounts) / Path(name).relative_to(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            store.get_file(name, str(file))

    def _upload(self, uri: str, mounts: Path) -> None:
        store, path = fsspec.core.url_to_fs(uri)
        folder = _local(uri, mounts)
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            store.put_file(str(file), f"{path}/{file.relative_to(folder).as_posix()}")


class StepFailed(Exception):
    """A container ended with another status than 0.

    Attributes:
        step: its id.
        stderr: what it said.
    """

    def __init__(self, step: str, stderr: str):
        super().__init__(f"{step}: {stderr[-3000:]}")
        self.step, self.stderr = step, stderr


def _local(uri: str, mounts: Path) -> Path:
    store, _, path = uri.partition("://")
    return mounts / store / path
