"""`TF_CONFIG`, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tfx_pipeline.errors import ConfigError
from tfx_pipeline.training.workers.cluster import Cluster

TWO = ["a:1", "b:2"]


def read(cluster: Any, kind: Any = "worker", index: Any = 0) -> Cluster | None:
    values = {"cluster": cluster, "task": {"type": kind, "index": index}}
    return Cluster.from_environment({"TF_CONFIG": json.dumps(values)})


@pytest.mark.parametrize("text", [None, "", " ", "{}", '{"cluster": {}}', '{"environment": "cloud"}'])
def test_without_a_cluster_a_process_trains_alone(text):
    assert Cluster.from_environment({} if text is None else {"TF_CONFIG": text}) is None


@pytest.mark.parametrize("cluster", [{"worker": ["a:1"]}, {"chief": ["a:1"]}, {"chief": ["a:1"], "worker": []}])
def test_a_single_worker_trains_alone(cluster):
    assert read(cluster, next(iter(cluster))) is None


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "place"),
    [
        ({"worker": TWO}, "worker", 0, 0),
        ({"worker": TWO}, "worker", "1", 1),
        ({"worker": TWO, "chief": ["c:3"]}, "chief", 0, 0),
        ({"worker": TWO, "chief": ["c:3"]}, "worker", 0, 1),
        ({"worker": TWO, "chief": ["c:3"], "ps": []}, "worker", 1, 2),
    ],
)
def test_the_chief_is_first_and_else_worker_0(cluster, kind, index, place):
    found = read(cluster, kind, index)
    assert found is not None
    assert found.index == place
    assert found.is_chief == (place == 0)
    assert found.addresses == (*cluster.get("chief", []), *TWO)
    found.check_role(chief=found.is_chief)
    with pytest.raises(ConfigError, match=r"`dmf run` is for the chief alone, at .:., and `dmf worker`"):
        found.check_role(chief=not found.is_chief)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"cluster": ["a:1", "b:2"]}', "a cluster that is no object"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', "no task with type and index, which says which of worker 0"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker"}}', "no task with type and index"),
    ],
)
def test_what_is_no_such_object_is_refused_with_an_example(text, told):
    with pytest.raises(ConfigError, match=f"^TF_CONFIG: it has {told}") as refused:
        Cluster.from_environment({"TF_CONFIG": text})
    assert f"Received: {text}\nexpected: " in str(refused.value)


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "told"),
    [
        ({"worker": TWO}, "worker", 2, "the task worker 2, where the cluster has worker 0, worker 1"),
        ({"worker": TWO}, "worker", -1, "the task worker -1"),
        ({"worker": TWO}, "chief", 0, "the task chief 0"),
        ({"worker": TWO}, "evaluator", 0, "the task evaluator 0"),
        ({"worker": TWO}, "worker", "first", "a task whose index is 'first'"),
        ({"worker": TWO, "ps": ["p:1"]}, "worker", 0, "a cluster with ps"),
        ({"worker": TWO, "evaluator": ["p:1"]}, "worker", 0, "a cluster with evaluator"),
        ({"worker": "a:1"}, "worker", 0, "a cluster whose worker is no list"),
        ({"worker": ["a", "b:2"]}, "worker", 0, "a cluster whose worker is no list of host:port"),
        ({"worker": ["a:1", "b:99999"]}, "worker", 0, "a cluster whose worker is no list of host:port"),
        ({"worker": ["a:1", 7]}, "worker", 0, "a cluster whose worker is no list of host:port"),
        ({"worker": ["a:1", "a:1"]}, "worker", 0, "two workers with one address"),
        ({"chief": TWO}, "chief", 0, "more than one chief"),
    ],
)
def test_what_cannot_train_is_refused(cluster, kind, index, told):
    with pytest.raises(ConfigError) as refused:
        read(cluster, kind, index)
    assert f"it has {told}" in str(refused.value)
