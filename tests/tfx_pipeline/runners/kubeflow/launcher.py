"""Runs a compiled pipeline as Kubeflow's driver and launcher do, on this machine.

Step by step, in the order of their dependencies: makes the step's ExecutorInput, brings its input artifacts from the
object store to where the launcher puts them, runs the container's own command in a process of its own, and takes the
artifacts it wrote, and what it says of them, on to the store and the next step.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import fsspec
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

Artifact = dict[str, Any]
_TFX_ENTRY = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"


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
        forked: whether a step begins in a process that has imported TFX before: it takes a second in place of 15.
    """

    spec: pipeline_spec_pb2.PipelineSpec
    root: str
    scratch: Path
    environment: dict[str, str]
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    forked: bool = False
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
        log = self.scratch / f"{name}.log"
        (mounts / "tmp").mkdir()
        environment = {**self.environment, "DMF_MOUNTS": str(mounts), "TMPDIR": str(mounts / "tmp")}
        status = (_forked if self.forked else _started)(command, environment, mounts, log)
        if status:
            raise StepFailed(name, log.read_text(encoding="utf-8"))
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
        log: what it said.
    """

    def __init__(self, step: str, log: str):
        super().__init__(f"{step}: {log[-3000:]}")
        self.step, self.log = step, log


def _started(command: list[str], environment: dict[str, str], folder: Path, log: Path) -> int:
    """Runs a container's command as it stands; returns the exit status."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with log.open("wb") as out:
        return subprocess.run(
            command, env={**os.environ, **environment, "PATH": path}, cwd=folder, stdout=out, stderr=out, check=False
        ).returncode


def _forked(command: list[str], environment: dict[str, str], folder: Path, log: Path) -> int:
    """Runs the module that the command names with the command's arguments; returns the exit status."""
    python, option, module, *arguments = command
    assert (python, option) == ("python", "-m")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_TFX_ENTRY, "tensorflow_model_analysis", "keras"])
    process = context.Process(target=_run_module, args=(module, arguments, environment, str(folder), str(log)))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _run_module(module: str, arguments: list[str], environment: dict[str, str], folder: str, log: str) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    # As a Python of its own would: that of the process it comes from is known by now.
    tempfile.tempdir = None
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _local(uri: str, mounts: Path) -> Path:
    store, _, path = uri.partition("://")
    return mounts / store / path
