"""Inputs that TFX's Trainer and Tuner do not know: how their folders reach the user function, called with `fn_args`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tfx import types
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils

CONTENT = "content"
"""Artifact of `ItemContentGen`."""
REQUESTS = "requests"
"""Raw examples, of `BehaviorLogExampleGen`."""
REPORT = "report"
"""Report of ingestion."""
FIRST_RUN = "first_run"
"""`model_run` of the training that a refit repeats."""
RETRIEVAL_RUN = "retrieval_run"
"""`model_run` of the retrieval stage, which is exported with the ranker."""


def with_uris(
    exec_properties: Mapping[str, Any], artifacts: Mapping[str, list[types.Artifact]], keys: Iterable[str]
) -> dict[str, Any]:
    """The execution properties with the artifacts' folders in `custom_config`, where `uri_of` finds them.

    Args:
        exec_properties: those of TFX's Trainer or Tuner; `custom_config` is a JSON object.
        artifacts: inputs of the component.
        keys: which of them; each has one artifact.
    """
    custom_config = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
    custom_config |= {_entry(key): artifact_utils.get_single_uri(artifacts[key]) for key in keys}
    return {**exec_properties, standard_component_specs.CUSTOM_CONFIG_KEY: json_utils.dumps(custom_config)}


def uri_of(custom_config: Mapping[str, Any], key: str) -> str:
    """The folder of the input `key`."""
    return str(custom_config[_entry(key)])


def _entry(key: str) -> str:
    return f"{key}_uri"
