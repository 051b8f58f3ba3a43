"""The compiled pipeline, run step by step as Kubeflow runs it, makes the model that `dmf run` makes here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import fsspec
import numpy as np
import pytest

from serving import contract
from serving.contract import ModelContract
from serving.export.servable import Servable, request_arrays
from tests.stores import s3_server
from tests.tfx_pipeline.runners.kubeflow.launcher import Launcher, StepFailed, read_spec
from tfx_pipeline.cli import main

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = (
    "kubeflow={image: image, pipeline_root: 's3://box/runs', data_root: 's3://box/shop', push_dir: 's3://box/models'}"
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def launcher(finished_run, tmp_path_factory):
    """Of the compiled pipeline, with the logs on an object store and the local run's model as what was pushed there."""
    folder = tmp_path_factory.mktemp("kubeflow")
    compiled = folder / "pipeline.yaml"
    config = str(finished_run.config_file)
    assert main(["compile", "--config", config, "--set", CLUSTER, "-o", str(compiled)]) == 0
    with s3_server("box") as environment:
        store = fsspec.filesystem("s3")
        store.put(str(finished_run.config_file.parent / "data"), "box/shop/data", recursive=True)
        store.put(str(finished_run.model), f"box/models/{finished_run.model.name}", recursive=True)
        (folder / "steps").mkdir()
        found = Launcher(
            read_spec(compiled),
            "s3://box/runs/1",
            folder / "steps",
            {**environment, "PYTHONPATH": str(ROOT)},
            forked=True,
        )
        yield found


@pytest.fixture(scope="module")
def pushed(launcher, finished_run, tmp_path_factory) -> Path:
    """The version that the whole run pushed to the store."""
    launcher.run()
    store = fsspec.filesystem("s3")
    store.invalidate_cache()
    versions = sorted(int(Path(name).name) for name in store.ls("box/models", detail=False))
    assert len(versions) == 2
    assert versions[0] == int(finished_run.model.name)
    version = tmp_path_factory.mktemp("pushed") / str(versions[1])
    store.get(f"box/models/{versions[1]}", str(version), recursive=True)
    return version


def test_scores_are_those_of_the_local_run(pushed, finished_run):
    local, there = (json.loads((model / contract.GOLDEN_FILE).read_text()) for model in (finished_run.model, pushed))
    assert [entry["request"] for entry in there] == [entry["request"] for entry in local]
    with Servable(pushed) as servable:
        for entry in local:
            arrays = request_arrays(entry["request"], ModelContract.read(pushed))
            carries = any(name.startswith(contract.CONTENT_PREFIX) for name in arrays)
            scores = servable.run(contract.RANK_WITH_CONTENT if carries else contract.RANK, arrays)["score"]
            # Beam adds up means and deviations in any order, and training makes more of the last bit.
            np.testing.assert_allclose(scores[0], entry["scores"], atol=1e-4)


def test_the_candidate_was_compared_with_what_was_pushed_before(pushed, launcher, finished_run):
    (baseline,) = launcher.made["PushedBaseline"]["model"]
    assert baseline["metadata"]["pushed_version"] == finished_run.model.name
    local, there = (
        json.loads((model / contract.EVALUATION_FILE).read_text())["metrics"]["test"]["overall"]
        for model in (finished_run.model, pushed)
    )
    assert there["auc"] == pytest.approx(local["auc"], abs=1e-3)
    log = (launcher.scratch / "Evaluator.log").read_text(encoding="utf-8")
    assert "PushedBaseline/model" in log


def test_a_schema_of_ones_own_comes_from_the_store(launcher, finished_run, tmp_path):
    (schema,) = (finished_run.config_file.parent / "out" / "artifacts" / "SchemaGen" / "schema").glob("*/schema.pbtxt")
    fsspec.filesystem("s3").put_file(str(schema), "box/shop/schema.pbtxt")
    compiled = tmp_path / "pipeline.yaml"
    config = ["--config", str(finished_run.config_file), "--set", CLUSTER, "--set", "data.schema_file=schema.pbtxt"]
    assert main(["compile", *config, "-o", str(compiled)]) == 0
    # The command as it stands, in a Python of its own.
    curated = Launcher(read_spec(compiled), "s3://box/runs/2", tmp_path, launcher.environment)
    curated.run_task("ImportSchemaGen")
    found = fsspec.filesystem("s3").cat("box/runs/2/ImportSchemaGen/schema/schema.pbtxt")
    assert found.decode().split() == schema.read_text().split()


def test_data_that_is_not_there_is_a_sentence(launcher, tmp_path):
    elsewhere = dataclasses.replace(launcher, scratch=tmp_path, parameters={"data_root": "s3://box/nowhere"}, made={})
    with pytest.raises(StepFailed) as failed:
        elsewhere.run_task("BehaviorLogExampleGen")
    (said,) = [line for line in failed.value.log.splitlines() if line.startswith("stopped: ")]
    assert "s3://box/nowhere/data/" in said
    assert "nothing is there" in said
    assert "Traceback" not in failed.value.log
