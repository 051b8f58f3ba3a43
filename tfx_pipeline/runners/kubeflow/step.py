"""What a step's container runs: `python -m tfx_pipeline.runners.kubeflow.step`, with the arguments that TFX compiles.

TFX's own entry runs the executor. Around it this one does what the executors need of a cluster: paths of artifacts are
those at which the launcher has put them, marks become the run's values, and what lies on an object store is fetched
before and published after.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tfx_pipeline.console import Console, styled
from tfx_pipeline.errors import own_error
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.artifact_files import ABSENT
from tfx_pipeline.files.object_store import fetch, names_in, publish
from tfx_pipeline.files.output_folder import set_up_libraries
from tfx_pipeline.files.reading import list_names, read_json
from tfx_pipeline.files.versions import version_names
from tfx_pipeline.files.writing import write_json
from tfx_pipeline.runners.kubeflow.mounts import address_of, fetched, mounted
from tfx_pipeline.runners.kubeflow.parameters import DATA_ROOT, PARAMETERS, PUSH_DIR, with_values

_INVOCATION, _INPUTS_SPEC = "--json_serialized_invocation_args", "--json_serialized_inputs_spec_args"
_CUSTOM_CONFIG = "custom_config"
_MODULE_FOLDER = "module_folder"
_SAVED_MODEL = "saved_model.pb"
OWN_TYPES = "dmf."
"""What the names of our artifact types begin with in a compiled pipeline."""
_OWN_TYPES_MODULE = "tfx_pipeline.components.artifacts."
_PUSHER = "tfx_pipeline.components.pusher."
_BASELINE = "tfx_pipeline.components.pushed_baseline."


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one step; returns the exit status. What we refuse is one sentence, all else has its traceback in the log."""
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.runners.kubeflow.step", description=__doc__)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument(_INVOCATION, required=True, help="ExecutorInput as JSON; the launcher fills it in")
    parser.add_argument(_INPUTS_SPEC, required=True, help="ComponentInputsSpec as JSON")
    parsed, beam_args = parser.parse_known_args(arguments)
    set_up_libraries()
    try:
        _run(parsed, beam_args)
    except Exception as error:
        refused = own_error(error)
        if refused is None:
            raise
        Console(stderr=True).print(styled(f"stopped: {refused}"), highlight=False, soft_wrap=True)
        return 1
    return 0


def _run(parsed: argparse.Namespace, beam_args: list[str]) -> None:
    invocation = json.loads(parsed.json_serialized_invocation_args)
    spec = json.loads(parsed.json_serialized_inputs_spec_args)
    inputs, outputs = invocation.setdefault("inputs", {}), invocation["outputs"]
    output_file = mounted(outputs["outputFile"])
    outputs["outputFile"] = output_file
    _localise(inputs.get("artifacts", {}), spec.get("artifacts", {}))
    _localise(outputs.get("artifacts", {}), {})
    given = inputs.get("parameterValues", {})
    run = {name: given.pop(name) for name in PARAMETERS if name in given}
    push_dir = run.get(PUSH_DIR)
    pushed = _bring_versions(push_dir, parsed.executor_class_path) if push_dir is not None else []
    inputs["parameterValues"] = _bring_data(given, run)
    parsed.json_serialized_invocation_args = json.dumps(invocation)

    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    from tfx_pipeline.runners import beam_files, beam_graphs

    beam_graphs.remember()
    beam_files.compress_fast()
    kubeflow_v2_run_executor.main((parsed, beam_args))
    if parsed.executor_class_path.startswith(_PUSHER) and push_dir is not None and fetched(push_dir) != push_dir:
        for version in version_names(list_names(fetched(push_dir))):
            if version not in pushed:
                publish(Path(fetched(push_dir), version), join(push_dir, version), last=_SAVED_MODEL)
    _with_addresses(output_file)


def _localise(artifacts: dict[str, Any], spec: Mapping[str, Any]) -> None:
    """Gives artifacts local paths, the types that the step declares and ids; takes away those that are not there."""
    for name in list(artifacts):
        found = artifacts[name]["artifacts"]
        for artifact in found:
            if name in spec:
                artifact["type"] = dict(spec[name]["artifactType"])
            artifact["type"] = _importable(artifact["type"])
            # By its name TFX tells a blessing which model it is of.
            artifact["name"] = artifact.get("name") or artifact["uri"]
            artifact["uri"] = mounted(artifact["uri"])
        artifacts[name]["artifacts"] = [one for one in found if not one.get("metadata", {}).get(ABSENT)]
        if not artifacts[name]["artifacts"]:
            del artifacts[name]


def _importable(type_schema: Mapping[str, str]) -> dict[str, str]:
    """The type with a title that TFX can import, where it is one of ours."""
    instance = yaml.safe_load(type_schema.get("instanceSchema") or "{}")
    title = str(instance.get("title", ""))
    if not title.startswith(OWN_TYPES):
        return dict(type_schema)
    instance["title"] = _OWN_TYPES_MODULE + title.removeprefix(OWN_TYPES)
    return {"instanceSchema": yaml.safe_dump(instance)}


def _bring_data(properties: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """The step's parameters with the run's values, once the files that it reads are here."""
    # Numbers of a run are floating; the seed is the one that there is.
    values = {name: fetched(value) if isinstance(value, str) else int(value) for name, value in run.items()}
    root = str(run.get(DATA_ROOT, ""))
    here = fetched(root)
    paths: set[str] = set()

    def read(keys: tuple[str, ...], path: str) -> None:
        # What else a training is told of files is for whoever uses the model.
        if keys[0] != _CUSTOM_CONFIG or keys[-1] == _MODULE_FOLDER:
            paths.add(path)

    filled = {name: with_values(value, values, (name,), read) for name, value in properties.items()}
    if root != here:
        for path in sorted(paths):
            fetch(root.rstrip("/") + path.removeprefix(here), Path(path))
    return filled


def _bring_versions(push_dir: str, executor: str) -> list[str]:
    """What was pushed to an object store, as the step needs it here; returns the names of the versions there."""
    local = fetched(push_dir)
    if local == push_dir:
        return []
    versions = version_names(names_in(push_dir))
    for version in versions:
        Path(local, version).mkdir(parents=True, exist_ok=True)
    if versions and executor.startswith(_BASELINE):
        fetch(join(push_dir, versions[-1]), Path(local, versions[-1]))
    return versions


def _with_addresses(output_file: str) -> None:
    """Gives the artifacts in the step's answer the addresses that the launcher knows."""
    answer = read_json(output_file)
    for artifact in _artifacts(answer):
        artifact["uri"] = address_of(artifact["uri"])
    write_json(output_file, answer)


def _artifacts(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for of_name in answer.get("artifacts", {}).values():
        yield from of_name.get("artifacts", [])


if __name__ == "__main__":
    sys.exit(main())
