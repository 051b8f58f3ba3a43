"""Who trains: `TF_CONFIG`, read and checked before TensorFlow does."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from tfx_pipeline.errors import ConfigError

VARIABLE = "TF_CONFIG"
_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
_CHIEF, _WORKER = "chief", "worker"


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a training, and which of them this process is.

    Attributes:
        addresses: host:port of every worker, the chief's first.
        index: of this one among them.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that runs the pipeline, and alone writes."""
        return self.index == 0

    def check_role(self, *, chief: bool) -> None:
        """Raises ConfigError unless this is the chief, or unless it is another."""
        if self.is_chief != chief:
            raise ConfigError(
                f"{VARIABLE} says that this is {self}; `dmf run` is for the chief alone, at {self.addresses[0]}, "
                "and `dmf worker` for every other"
            )

    def __str__(self) -> str:
        return f"{'chief' if self.is_chief else f'worker {self.index}'} of {len(self.addresses)} workers"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Cluster | None:
        """The workers of `TF_CONFIG`; None where it is not set, or names a single one.

        Raises:
            ConfigError: it is no JSON object of this kind, or names roles that do not train together.
        """
        text = (os.environ if environment is None else environment).get(VARIABLE, "").strip()
        if not text:
            return None
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise _refused(f"no JSON ({error})", text) from None
        if not isinstance(values, dict):
            raise _refused("no JSON object", text)
        if not values.get("cluster"):
            return None
        tasks = _tasks(values["cluster"], text)
        if len(tasks) == 1:
            return None
        return cls(tuple(tasks.values()), list(tasks).index(_own(values.get("task"), tasks, text)))


def _tasks(cluster: Any, text: str) -> dict[tuple[str, int], str]:
    """Address by role and index, the chief's first: without a chief that is worker 0, as in TensorFlow."""
    if not isinstance(cluster, dict):
        raise _refused("a cluster that is no object", text)
    if other := sorted(role for role in set(cluster) - {_CHIEF, _WORKER} if cluster[role]):
        raise _refused(f"a cluster with {', '.join(other)}; there may be {_CHIEF} and {_WORKER}", text)
    tasks: dict[tuple[str, int], str] = {}
    for role in (_CHIEF, _WORKER):
        addresses = cluster.get(role) or []
        if not isinstance(addresses, list) or not all(_is_address(address) for address in addresses):
            raise _refused(f"a cluster whose {role} is no list of host:port", text)
        tasks |= {(role, index): address for index, address in enumerate(addresses)}
    if len(cluster.get(_CHIEF) or []) > 1:
        raise _refused("more than one chief", text)
    if len(set(tasks.values())) < len(tasks):
        raise _refused("two workers with one address", text)
    return tasks


def _own(task: Any, tasks: Mapping[tuple[str, int], str], text: str) -> tuple[str, int]:
    there = ", ".join(f"{role} {index}" for role, index in tasks)
    if not isinstance(task, dict) or not {"type", "index"} <= set(task):
        raise _refused(f"no task with type and index, which says which of {there} this process is", text)
    try:
        own = str(task["type"]), int(task["index"])
    except (TypeError, ValueError):
        raise _refused(f"a task whose index is {task['index']!r}", text) from None
    if own not in tasks:
        raise _refused(f"the task {own[0]} {own[1]}, where the cluster has {there}", text)
    return own


def _is_address(value: Any) -> bool:
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return bool(host and colon) and port.isdecimal() and 0 < int(port) < 65536


def _refused(what: str, text: str) -> ConfigError:
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    return ConfigError(
        f"{VARIABLE}: it has {what}. Received: {shown}\n"
        f"expected: {_EXAMPLE}; without it a training is of this process alone"
    )
