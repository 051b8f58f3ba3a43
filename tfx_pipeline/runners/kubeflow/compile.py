"""From the configuration to a file that Kubeflow (KFP v2) or Vertex runs, by TFX's own compiler."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from google.protobuf import json_format, message
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner, pipeline_builder
from tfx.orchestration.pipeline import Pipeline

from tfx_pipeline.components.artifacts import IngestionReport, ItemContent
from tfx_pipeline.config.encoders import in_pipeline
from tfx_pipeline.config.kubeflow import Kubeflow, StepResources
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.spelling import did_you_mean
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.files.addresses import scheme
from tfx_pipeline.files.mirror import address_of
from tfx_pipeline.files.writing import write_text
from tfx_pipeline.pipeline import Fingerprints, create_pipeline
from tfx_pipeline.runners.beam_args import runner_args
from tfx_pipeline.runners.cache_keys import code_of
from tfx_pipeline.runners.kubeflow.parameters import (
    DATA_ROOT,
    DATA_VERSION,
    EVAL_FROM,
    PUSH_DIR,
    SEED,
    TEST_FROM,
    mark,
    with_marks,
)
from tfx_pipeline.runners.kubeflow.step import OWN_TYPES

Target = Literal["kubeflow", "vertex"]
COMMAND = ("python", "-m", "tfx_pipeline.runners.kubeflow.step")
_SOURCE_FINGERPRINT = "source_fingerprint"
_OWN_TYPES = (IngestionReport, ItemContent)
# Of what a step keeps for its own next attempt: in its container, and gone with it.
_OUTPUT = Path("/tmp/dmf")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]+")


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled pipeline.

    Attributes:
        name: of the pipeline there: small letters, digits and hyphens.
        steps: ids, in the order in which the pipeline lists them.
        parameters: what a run may set, with the defaults.
        text: of the file: YAML for Kubeflow, JSON for Vertex.
        elsewhere: paths that lie outside `kubeflow.data_dir`: the containers need them where they are.
    """

    name: str
    steps: list[str]
    parameters: dict[str, str | int]
    text: str
    elsewhere: list[str]


def compile_for(config: PipelineConfig, target: Target) -> Compiled:
    """Compiles the pipeline that `dmf run` runs here. Reads no data, and asks no cluster.

    Args:
        config: the validated configuration with a section `kubeflow`.
        target: `kubeflow` for a PipelineSpec of KFP v2, `vertex` for a PipelineJob.

    Raises:
        ConfigError: there is no such section, it names a step that the pipeline lacks, or what the target cannot do.
    """
    cluster = config.kubeflow
    if cluster is None:
        raise ConfigError(
            "kubeflow: there is no such section; give one with image and pipeline_root, see docs/KUBEFLOW.md"
        )
    if made := in_pipeline(config.encoders):
        raise ConfigError(
            f"encoders.{made[0]}.in_pipeline: a step of a cluster has no disk that keeps vectors for the next run; run "
            "`dmf encode` where the data are, and leave in_pipeline out"
        )
    if stored := _stored_path(config.model_dump(mode="json", include={"data", "content", "negatives"})):
        raise ConfigError(
            f"{stored}: a step of a cluster fetches what lies below kubeflow.data_root; give that folder of the store "
            "there, and paths below kubeflow.data_dir in the sections of the data"
        )
    defaults = _defaults(config, cluster)
    pipeline = _pipeline(config, cluster)
    elsewhere = _parametrise(pipeline, cluster.data_dir, defaults)
    _give_resources(pipeline, cluster, target)
    with _importable_types():
        job = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
            config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
                default_image=_images(pipeline, cluster), default_commands=list(COMMAND), use_pipeline_spec_2_1=True
            )
        ).run(pipeline, parameter_values=dict(defaults), write_out=False)
    spec = job["pipelineSpec"]
    spec["defaultPipelineRoot"] = cluster.pipeline_root
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    used = {name: defaults[name] for name in declared}
    for name, value in used.items():
        declared[name]["defaultValue"] = value
    # What was pushed meanwhile is no input of it that the cache could see.
    spec["root"]["dag"]["tasks"]["PushedBaseline"]["cachingOptions"] = {}
    if target == "vertex":
        job["runtimeConfig"]["gcsOutputDirectory"] = cluster.pipeline_root
        job["runtimeConfig"]["parameterValues"] = used
        text = json.dumps(job, indent=1, sort_keys=True) + "\n"
    else:
        platform = _platform(pipeline, cluster)
        text = yaml.safe_dump_all([spec, *([platform] if platform else [])], sort_keys=True)
    steps = [node.id for node in pipeline.components]
    return Compiled(spec["pipelineInfo"]["name"], steps, used, text, elsewhere)


def write_compiled(config: PipelineConfig, target: Target, file: Path) -> Compiled:
    """Compiles and writes the file, by atomic rename.

    Raises:
        ConfigError: as `compile_for`.
    """
    compiled = compile_for(config, target)
    write_text(file, compiled.text)
    return compiled


def _stored_path(values: Any) -> str | None:
    """The first address of an object store among the paths of some sections."""
    if isinstance(values, list):
        return next(filter(None, map(_stored_path, values)), None)
    if not isinstance(values, dict):
        return None
    own = values.get("path")
    if isinstance(own, str) and scheme(own) is not None:
        return own
    return _stored_path(list(values.values()))


def _defaults(config: PipelineConfig, cluster: Kubeflow) -> dict[str, str | int]:
    defaults: dict[str, str | int] = {
        DATA_ROOT: cluster.data_root or str(cluster.data_dir),
        DATA_VERSION: "1",
        PUSH_DIR: cluster.push_dir or address_of(config.push_dir) or str(config.push_dir),
        SEED: config.training.seed,
    }
    if config.split.dates is not None:
        defaults[EVAL_FROM] = config.split.dates.eval_from.isoformat()
        defaults[TEST_FROM] = config.split.dates.test_from.isoformat()
    return defaults


def _pipeline(config: PipelineConfig, cluster: Kubeflow) -> Pipeline:
    """TFX's pipeline, with the artifacts at the cluster's root and a mark for the folder of pushed versions."""
    there = config.model_copy(
        update={
            "output": _OUTPUT,
            "serving": config.serving.model_copy(update={"push_dir": Path(mark(PUSH_DIR))}),
            "beam": config.beam.model_copy(update={"args": runner_args(config.beam.args)}),
        }
    )
    fingerprints = Fingerprints(logs="", content="", code=code_of(config))
    pipeline = create_pipeline(there, fingerprints, schema_file=config.data.schema_file, pushed_baseline=True)
    # The name stays what models are served under; here it is one of Kubernetes.
    pipeline.pipeline_info.pipeline_name = _NOT_IN_NAMES.sub("-", config.name.lower())
    pipeline.pipeline_info.pipeline_root = cluster.pipeline_root
    return pipeline


def _parametrise(pipeline: Pipeline, data_dir: Path, defaults: dict[str, str | int]) -> list[str]:
    """Marks what a run sets and gives each step the run's parameters that it has marks of; see `parameters`.

    Returns:
        Paths that are neither below `data_dir` nor the container's own.
    """
    elsewhere: set[str] = set()
    for component in pipeline.components:
        properties, parameters = component.exec_properties, set[str]()
        for name, value in properties.items():
            if name == _SOURCE_FINGERPRINT:
                properties[name] = _parameter(DATA_VERSION, defaults)
                continue
            marked = with_marks(_plain(value), data_dir)
            if marked.parameters:
                properties[name] = marked.value
                parameters |= marked.parameters
            elsewhere |= marked.elsewhere
        for name in sorted(parameters):
            properties[name] = _parameter(name, defaults)
    return sorted(path for path in elsewhere if not Path(path).is_relative_to(_OUTPUT))


def _plain(value: Any) -> Any:
    """A message as the JSON that TFX compiles it to, so that it can be marked; all else as it is."""
    return json_format.MessageToJson(value, sort_keys=True) if isinstance(value, message.Message) else value


def _parameter(name: str, defaults: dict[str, str | int]) -> RuntimeParameter:
    return RuntimeParameter(name=name, ptype=type(defaults[name]), default=defaults[name])


def _give_resources(pipeline: Pipeline, cluster: Kubeflow, target: Target) -> None:
    ids = [component.id for component in pipeline.components]
    for step in cluster.steps:
        if step not in ids:
            meant = did_you_mean(step, ids)
            said = f" ({meant})" if meant else ""
            raise ConfigError(f"kubeflow.steps: no step '{step}'{said}; steps: {', '.join(ids)}")
    if target == "vertex":
        labelled = [step for step in ids if cluster.of_step(step).node_selector]
        if labelled or cluster.secret_env:
            key = f"node_selector (of {labelled[0]})" if labelled else "secret_env"
            raise ConfigError(f"kubeflow.{key}: Vertex knows no such thing; leave it out for --runner vertex")
    for component in pipeline.components:
        resources = _resources(cluster.of_step(component.id))
        if resources is not None and isinstance(component, BaseComponent):
            component.with_platform_config(resources)


def _resources(given: StepResources) -> Any:
    specs = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec
    if given.cpu is None and given.memory_gb is None and not given.gpus:
        return None
    resources = specs(cpu_limit=given.cpu or 0.0, memory_limit=given.memory_gb or 0.0)
    if given.gpus:
        resources.accelerator.CopyFrom(specs.AcceleratorConfig(type=given.gpu_type, count=given.gpus))
    return resources


def _images(pipeline: Pipeline, cluster: Kubeflow) -> dict[str, str]:
    own = {component.id: cluster.of_step(component.id).image or cluster.image for component in pipeline.components}
    return {pipeline_builder.DEFAULT_IMAGE_PATH_KEY: cluster.image, **own}


def _platform(pipeline: Pipeline, cluster: Kubeflow) -> dict[str, Any] | None:
    """What Kubernetes alone knows of, in the form of `kfp-kubernetes`; None where the configuration names nothing."""
    executors: dict[str, Any] = {}
    secrets = [
        {
            "secretName": secret,
            "secretNameParameter": {"runtimeValue": {"constant": secret}},
            "keyToEnv": [{"secretKey": key, "envVar": variable}],
        }
        for variable, (secret, key) in ((name, where.split("/")) for name, where in cluster.secret_env.items())
    ]
    for component in pipeline.components:
        labels = cluster.of_step(component.id).node_selector
        executor = {
            **({"nodeSelector": {"labels": dict(labels)}} if labels else {}),
            **({"secretAsEnv": secrets} if secrets else {}),
        }
        if executor:
            executors[f"{component.id}_executor"] = executor
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}} if executors else None


@contextlib.contextmanager
def _importable_types() -> Iterator[None]:
    """Names our artifact types as Kubeflow wants them; metadata stores here know them by their plain names."""
    names = {artifact_type: artifact_type.TYPE_NAME for artifact_type in _OWN_TYPES}
    try:
        for artifact_type, name in names.items():
            artifact_type.TYPE_NAME = f"{OWN_TYPES}{name}"
        yield
    finally:
        for artifact_type, name in names.items():
            artifact_type.TYPE_NAME = name
