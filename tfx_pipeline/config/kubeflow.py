"""The section `kubeflow`: where and with what the steps run on a cluster, by `dmf compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from tfx_pipeline.config.values import ConfigPath, Integer, Number, Section

SecretKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")]


class StepResources(Section):
    """What a step's container is given."""

    image: str | None = Field(None, description="absent: that of `kubeflow.image`")
    cpu: Number | None = Field(None, gt=0, description="cores at most; absent: no limit")
    memory_gb: Number | None = Field(None, gt=0, description="GB of memory at most; absent: no limit")
    gpus: Integer = Field(0, ge=0, description="of the step's container")
    gpu_type: str = Field(
        "nvidia.com/gpu", description="name of the resource on Kubernetes; on Vertex the accelerator, as NVIDIA_L4"
    )
    node_selector: dict[str, str] = Field({}, description="labels that a node must have; not on Vertex")


class Kubeflow(Section):
    """How `dmf compile` makes a pipeline of Kubeflow or Vertex."""

    image: str = Field(min_length=1, description="of the steps' containers: this package is installed in it")
    pipeline_root: str = Field(
        min_length=1, description="where artifacts go, such as `s3://bucket/runs`; a run may name another"
    )
    data_dir: ConfigPath = Field(
        Path("."),
        validate_default=True,
        description="paths of the configuration below this folder are below the run's parameter `data_root` for the "
        "steps; absent: the folder of the configuration",
    )
    data_root: str | None = Field(
        None,
        min_length=1,
        description="default of that parameter: a folder that the containers have, or an address such as "
        "`s3://bucket/logs`, of which each step fetches the files that it reads; absent: the path of `data_dir`",
    )
    push_dir: str | None = Field(
        None,
        min_length=1,
        description="default of the parameter `push_dir`, a folder or an address as well; absent: the path of "
        "`serving.push_dir`",
    )
    defaults: StepResources = Field(StepResources(), description="of every step")
    steps: dict[str, StepResources] = Field(
        {}, description="by id of a step, in place of `defaults` where a key is given"
    )
    secret_env: dict[str, SecretKey] = Field(
        {}, description="environment variables of all steps, each `secret/key` of a Kubernetes secret; not on Vertex"
    )

    def of_step(self, step: str) -> StepResources:
        """What the step is given: its own keys over the defaults."""
        own = self.steps.get(step, StepResources())
        return self.defaults.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})
