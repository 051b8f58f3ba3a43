"""How further inputs of a component reach a user function that TFX calls with `fn_args`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfx import types
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils


def with_uris(
    exec_properties: dict[str, Any], artifacts: dict[str, list[types.Artifact]], keys: Iterable[str]
) -> dict[str, Any]:
    """The execution properties with the artifacts' folders in `custom_config`, each as `KEY_uri`.

    Args:
        exec_properties: those of TFX's Trainer or Tuner; `custom_config` is a JSON object.
        artifacts: inputs of the component.
        keys: which of them; each has one artifact.
    """
    custom_config = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
    custom_config |= {f"{key}_uri": artifact_utils.get_single_uri(artifacts[key]) for key in keys}
    return {**exec_properties, standard_component_specs.CUSTOM_CONFIG_KEY: json_utils.dumps(custom_config)}
