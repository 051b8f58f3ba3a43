"""Sends a compiled pipeline to a cluster, by kfp's client."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from serving.messages import first_line
from tfx_pipeline.config.spelling import did_you_mean
from tfx_pipeline.errors import ConfigError, PipelineError


@dataclasses.dataclass(frozen=True)
class Submitted:
    """A run that a cluster has taken.

    Attributes:
        run_id: by which the cluster knows it.
        url: of its page.
    """

    run_id: str
    url: str


def submit(
    file: Path,
    host: str,
    *,
    parameters: Mapping[str, str],
    run_name: str | None = None,
    experiment: str | None = None,
    namespace: str | None = None,
    service_account: str | None = None,
    token: str | None = None,
    cache: bool = True,
) -> Submitted:
    """Starts a run.

    Args:
        file: YAML of `dmf compile --runner kubeflow`.
        host: address of Kubeflow Pipelines' API, such as `http://localhost:8080`.
        parameters: of the run, as text, in place of the defaults.
        run_name, experiment, namespace, service_account: of the run; None: what the cluster takes by default.
        token: bearer token, where the API asks for one.
        cache: whether steps may be taken from the cluster's cache.

    Raises:
        ConfigError: the file is no compiled pipeline, or a parameter is none of its own or no such value.
        PipelineError: there is no answer, or the cluster refuses.
    """
    arguments = check_parameters(file, parameters)
    from kfp import Client

    try:
        client = Client(host=host, namespace=namespace or "kubeflow", existing_token=token)
        run = client.create_run_from_pipeline_package(
            str(file),
            arguments=arguments,
            run_name=run_name,
            experiment_name=experiment,
            namespace=namespace,
            enable_caching=None if cache else False,
            service_account=service_account,
        )
    # Of urllib3, of kfp's generated client, of Kubernetes' own: they have no common class.
    except Exception as error:
        said = getattr(error, "body", None) or first_line(error)
        raise PipelineError(
            f"{host}: Kubeflow Pipelines refuses or does not answer: {type(error).__name__}: {str(said)[:500]}; look "
            "at the address (kubectl port-forward -n kubeflow svc/ml-pipeline 8888), and at --token-file where it "
            "asks who you are"
        ) from error
    return Submitted(run.run_id, f"{host.rstrip('/')}/#/runs/details/{run.run_id}")


def check_parameters(file: Path, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The parameters as the values that the pipeline declares.

    Raises:
        ConfigError: as `submit`.
    """
    try:
        spec: Any = next(iter(yaml.safe_load_all(file.read_text(encoding="utf-8"))), None)
        declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError):
        raise ConfigError(
            f"{file}: is no pipeline of KFP v2; give the YAML that `dmf compile --runner kubeflow -o FILE` wrote"
        ) from None
    values: dict[str, Any] = {}
    for name, text in parameters.items():
        if name not in declared:
            meant = did_you_mean(name, list(declared))
            said = f" ({meant})" if meant else ""
            raise ConfigError(f"--parameter: no parameter '{name}'{said}; parameters: {', '.join(sorted(declared))}")
        whole = declared[name]["parameterType"] == "NUMBER_INTEGER"
        if whole and not text.removeprefix("-").isdecimal():
            raise ConfigError(f"--parameter {name}: should be a whole number, got '{text}'")
        values[name] = int(text) if whole else text
    return values
