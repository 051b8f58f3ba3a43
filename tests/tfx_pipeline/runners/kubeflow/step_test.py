"""What stands around TFX's entry of a container: places of artifacts, types, what is absent, what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from unittest import mock

import fsspec
import pytest
import yaml

from tests.stores import s3_server
from tfx_pipeline.runners.kubeflow import step
from tfx_pipeline.runners.kubeflow.mounts import ROOT_VARIABLE, address_of, mounted
from tfx_pipeline.runners.kubeflow.parameters import mark


@pytest.mark.parametrize("root", [None, "/mnt"])
@pytest.mark.parametrize(("store", "folder"), [("s3", "s3"), ("gs", "gcs"), ("minio", "minio")])
def test_an_address_has_one_place_and_a_place_one_address(monkeypatch, root, store, folder):
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    if root is not None:
        monkeypatch.setenv(ROOT_VARIABLE, root)
    address = f"{store}://bucket/runs/1"
    assert mounted(address) == f"{root or ''}/{folder}/bucket/runs/1"
    assert address_of(mounted(address)) == address


@pytest.mark.parametrize("path", ["/data/logs", "/s3", "/s3x/bucket", "relative/s3/x"])
def test_a_local_path_is_its_own_address(monkeypatch, path):
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    assert mounted(path) == path == address_of(path)


def test_artifacts_get_places_types_and_names_and_what_is_absent_goes():
    report = {"instanceSchema": "title: dmf.IngestionReport\ntype: object\n"}
    model = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
    artifacts = {
        # What the launcher says of its type is not what our step declares.
        "report": {"artifacts": [{"uri": "s3://b/report", "type": {"schemaTitle": "system.Artifact"}}]},
        "model": {"artifacts": [{"uri": "/local/model", "type": model, "name": "model-3"}]},
        "baseline": {"artifacts": [{"uri": "s3://b/none", "type": model, "metadata": {"absent": 1.0}}]},
    }
    step._localise(artifacts, {"report": {"artifactType": report}})
    assert set(artifacts) == {"report", "model"}
    (found,) = artifacts["report"]["artifacts"]
    assert found["uri"] == mounted("s3://b/report")
    assert found["name"] == "s3://b/report"
    title = yaml.safe_load(found["type"]["instanceSchema"])["title"]
    assert title == "tfx_pipeline.components.artifacts.IngestionReport"
    assert artifacts["model"]["artifacts"] == [{"uri": "/local/model", "type": model, "name": "model-3"}]


@pytest.fixture
def place(monkeypatch, tmp_path):
    """Where a step puts what it fetches."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "dmf" / "fetched"


def test_a_step_fetches_what_it_reads_and_not_what_it_only_passes_on(place):
    with s3_server("logs"):
        store = fsspec.filesystem("s3")
        for name in ("a.csv", "titles.csv", "models/own.py"):
            store.pipe(f"logs/shop/{name}", name.encode())
        root = mark("data_root")
        properties = {
            "config": json.dumps({"path": f"{root}/a.csv"}),
            "custom_config": json.dumps(
                {
                    "ingestion": json.dumps({"items": f"{root}/titles.csv"}),
                    "model": {"module_folder": f"{root}/models"},
                    "training": {"seed": mark("seed")},
                }
            ),
        }
        filled = step._bring_data(properties, {"data_root": "s3://logs/shop", "seed": 7.0})
    place = place / "s3" / "logs" / "shop"
    assert json.loads(filled["config"]) == {"path": str(place / "a.csv")}
    custom = json.loads(filled["custom_config"])
    assert json.loads(custom["ingestion"]) == {"items": str(place / "titles.csv")}
    assert custom["training"] == {"seed": 7}
    assert isinstance(custom["training"]["seed"], int)
    fetched = sorted(str(file.relative_to(place)) for file in place.rglob("*") if file.is_file())
    assert fetched == ["a.csv", "models/own.py"]


@pytest.mark.slow
def test_what_a_step_refuses_is_a_sentence_of_the_log(tmp_path):
    invocation = {
        "inputs": {"parameterValues": {"config": f"{mark('data_root')}/logs", "data_root": "s3://nowhere/x"}},
        "outputs": {"outputFile": str(tmp_path / "output.json")},
    }
    with s3_server("bucket") as environment:
        result = subprocess.run(
            [
                *(sys.executable, "-m", "tfx_pipeline.runners.kubeflow.step", "--executor_class_path", "a.B"),
                *("--json_serialized_invocation_args", json.dumps(invocation)),
                *("--json_serialized_inputs_spec_args", "{}"),
            ],
            env={**os.environ, **environment, ROOT_VARIABLE: str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.startswith("stopped: s3://nowhere/x/logs: ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "output.json").exists()


def test_versions_pushed_elsewhere_are_known_and_the_newest_is_here_for_a_comparison(place, tmp_path):
    with s3_server("models"):
        store = fsspec.filesystem("s3")
        for name in ("9/saved_model.pb", "10/saved_model.pb", "10/variables/x", "readme"):
            store.pipe(f"models/shop/{name}", name.encode())
        local = place / "s3" / "models" / "shop"
        assert step._bring_versions("s3://models/shop", "tfx_pipeline.components.pusher.executor.Executor") == [
            "9",
            "10",
        ]
        assert not any(file.is_file() for file in local.rglob("*"))
        step._bring_versions("s3://models/shop", "tfx_pipeline.components.pushed_baseline.executor.Executor")
        found = sorted(str(file.relative_to(local)) for file in local.rglob("*") if file.is_file())
        assert found == ["10/saved_model.pb", "10/variables/x"]
    with mock.patch.object(step, "names_in", side_effect=AssertionError):
        assert step._bring_versions(str(tmp_path), "tfx_pipeline.components.pusher.executor.Executor") == []
