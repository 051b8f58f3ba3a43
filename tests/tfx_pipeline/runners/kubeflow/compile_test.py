"""What is compiled: kfp reads it, it has every step, and what a run may set is a parameter of the steps it concerns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp import components
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.tfx_pipeline.runners.kubeflow.launcher import read_spec
from tfx_pipeline.cli import main
from tfx_pipeline.components.artifacts import IngestionReport, ItemContent
from tfx_pipeline.config import load_config
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.runners.kubeflow.compile import COMMAND, compile_for, write_compiled

ROOT = Path(__file__).resolve().parents[4]
CLUSTER = "kubeflow={image: 'registry/shop:1', pipeline_root: 's3://bucket/runs'}"
ALL_STEPS = (
    "tuning={run_in_pipeline: true, space: {params.id_dim: {choice: [16, 32]}}}",
    "training.refit=true",
    "stages={}",
    "content.fine_tuning={dim: 8}",
    "data.schema_file=schema.pbtxt",
    "split={dates: {eval_from: 2026-01-01, test_from: 2026-02-01}}",
)
CONFIGS = ["pipeline_config.yaml", "examples/ml1m.yaml", "examples/beauty.yaml", "examples/microlens50k.yaml"]


def compiled(*overrides: str, config: str = "pipeline_config.yaml", target: Any = "kubeflow"):
    return compile_for(load_config(ROOT / config, (CLUSTER, *overrides)), target)


def first_document(text: str) -> dict[str, Any]:
    return next(iter(yaml.safe_load_all(text)))


@pytest.mark.parametrize("config", CONFIGS)
def test_kfp_loads_the_pipelines_of_the_repository(config, tmp_path):
    file = tmp_path / "pipeline.yaml"
    made = write_compiled(load_config(ROOT / config, (CLUSTER,)), "kubeflow", file)
    loaded = components.load_component_from_file(str(file))
    assert loaded.name == made.name
    assert {name: one.default for name, one in loaded.component_spec.inputs.items()} == made.parameters
    assert set(read_spec(file).root.dag.tasks) == set(made.steps)


def test_every_step_that_a_configuration_can_ask_for_is_there():
    made = compiled(*ALL_STEPS)
    assert set(made.steps) == {
        *("BehaviorLogExampleGen", "ItemContentGen", "ContentTuner", "StatisticsGen", "ImportSchemaGen"),
        *("ExampleValidator", "Transform", "RetrievalTrainer", "RankingTuner", "RankingTrainer", "RefitTrainer"),
        *("PushedBaseline", "ServingGate", "Evaluator", "Pusher"),
    }
    spec = first_document(made.text)
    assert set(spec["root"]["dag"]["tasks"]) == set(made.steps)
    for executor in spec["deploymentSpec"]["executors"].values():
        assert executor["container"]["command"] == list(COMMAND)
        assert executor["container"]["image"] == "registry/shop:1"
    assert spec["defaultPipelineRoot"] == "s3://bucket/runs"


def test_a_steps_parameters_are_those_that_concern_it():
    tasks = first_document(compiled(*ALL_STEPS).text)["root"]["dag"]["tasks"]
    taken = {
        step: {
            value["componentInputParameter"]
            for value in task["inputs"].get("parameters", {}).values()
            if "componentInputParameter" in value
        }
        for step, task in tasks.items()
    }
    logs = {"data_root", "eval_from", "test_from"}
    assert taken == {
        "BehaviorLogExampleGen": {*logs, "data_version"},
        "ItemContentGen": {"data_root", "data_version"},
        "ContentTuner": {"data_root", "data_version"},
        "StatisticsGen": set(),
        "ImportSchemaGen": {"data_root"},
        "ExampleValidator": set(),
        "Transform": set(),
        "RetrievalTrainer": {*logs, "seed"},
        "RankingTuner": {"seed"},
        "RankingTrainer": {*logs, "seed"},
        "RefitTrainer": {*logs, "seed"},
        "PushedBaseline": {"push_dir"},
        "ServingGate": set(),
        "Evaluator": set(),
        "Pusher": {"push_dir"},
    }


def test_no_path_of_this_machine_is_compiled_but_those_that_are_named():
    made = compiled(*ALL_STEPS)
    assert made.elsewhere == []
    defaults = {value for value in made.parameters.values() if isinstance(value, str)}
    spec = first_document(made.text)
    spec["root"]["inputDefinitions"] = {}
    assert defaults & {str(ROOT)}
    assert str(ROOT) not in json.dumps(spec)
    outside = compiled("data.items.path=/mnt/catalogue/items.csv")
    assert outside.elsewhere == ["/mnt/catalogue/items.csv"]


def test_data_on_a_store_are_those_below_the_data_root():
    address = "s3://bucket/items.csv"
    with pytest.raises(ConfigError, match=rf"{address}: a step .* fetches what lies below kubeflow\.data_root"):
        compiled(f"data.items.path={address}")
    assert compiled("serving.push_dir=s3://models/shop").parameters["push_dir"] == "s3://models/shop"


def test_the_same_configuration_compiles_to_the_same_file_and_types_keep_their_names():
    assert compiled().text == compiled().text
    assert (IngestionReport.TYPE_NAME, ItemContent.TYPE_NAME) == ("IngestionReport", "ItemContent")


def test_defaults_of_parameters_are_the_sections_or_the_local_paths(tmp_path):
    local = compiled("training.seed=7").parameters
    assert local["seed"] == 7
    assert local["data_root"] == str(ROOT)
    assert local["push_dir"] == str(ROOT / "runs/demo/serving/demo")
    cluster = CLUSTER[:-1] + ", data_root: 's3://logs/shop', push_dir: 's3://models/shop'}"
    there = compile_for(load_config(ROOT / "pipeline_config.yaml", (cluster,)), "kubeflow").parameters
    assert there["data_root"] == "s3://logs/shop"
    assert there["push_dir"] == "s3://models/shop"


def test_resources_images_and_what_kubernetes_alone_knows():
    cluster = (
        "kubeflow={image: base, pipeline_root: 's3://b/r', defaults: {cpu: 2, memory_gb: 8}, secret_env: "
        "{AWS_SECRET_ACCESS_KEY: s3-keys/secret}, steps: {RankingTrainer: {image: gpu, memory_gb: 32, gpus: 1, "
        "node_selector: {pool: gpu}}}}"
    )
    text = compile_for(load_config(ROOT / "pipeline_config.yaml", (cluster,)), "kubeflow").text
    spec, platform = yaml.safe_load_all(text)
    executors = spec["deploymentSpec"]["executors"]
    trainer, other = executors["RankingTrainer_executor"]["container"], executors["Transform_executor"]["container"]
    assert (trainer["image"], other["image"]) == ("gpu", "base")
    assert trainer["resources"] == {
        "cpuLimit": 2.0,
        "memoryLimit": 32.0,
        "accelerator": {"count": "1", "type": "nvidia.com/gpu"},
    }
    assert other["resources"] == {"cpuLimit": 2.0, "memoryLimit": 8.0}
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert kubernetes["RankingTrainer_executor"]["nodeSelector"] == {"labels": {"pool": "gpu"}}
    secret = kubernetes["Transform_executor"]["secretAsEnv"][0]
    assert secret["secretName"] == "s3-keys"
    assert secret["keyToEnv"] == [{"secretKey": "secret", "envVar": "AWS_SECRET_ACCESS_KEY"}]
    assert "nodeSelector" not in kubernetes["Transform_executor"]
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())


def test_vertex_gets_a_job_with_the_values_of_its_parameters():
    made = compiled(target="vertex")
    job = json_format.Parse(made.text, pipeline_spec_pb2.PipelineJob())
    assert job.runtime_config.gcs_output_directory == "s3://bucket/runs"
    values = json_format.MessageToDict(job.runtime_config)["parameterValues"]
    assert values == made.parameters
    assert set(json_format.MessageToDict(job.pipeline_spec)["root"]["dag"]["tasks"]) == set(made.steps)


@pytest.mark.parametrize(
    ("cluster", "target", "said"),
    [
        (", steps: {RankingTraner: {cpu: 1}}", "kubeflow", r"kubeflow.steps: no step 'RankingTraner' \(did you mean"),
        (", defaults: {node_selector: {a: b}}", "vertex", "kubeflow.node_selector .* Vertex knows no such thing"),
        (", secret_env: {A: b/c}", "vertex", "kubeflow.secret_env: Vertex knows no such thing"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused(cluster, target, said):
    with pytest.raises(ConfigError, match=said):
        compile_for(load_config(ROOT / "pipeline_config.yaml", (CLUSTER[:-1] + cluster + "}",)), target)


def test_the_command_says_what_a_run_may_set(tmp_path, capsys):
    file = tmp_path / "pipeline.json"
    command = ["compile", "--config", str(ROOT / "pipeline_config.yaml"), "-o", str(file)]
    assert main([*command, "--runner", "vertex", "--set", CLUSTER]) == 0
    said = "".join(capsys.readouterr())
    assert "pipeline demo for vertex, 11 steps" in said
    assert "parameter seed, default 42" in said
    assert json.loads(file.read_text())["displayName"] == "demo"
    assert main(command) == 2
    assert "kubeflow: there is no such section" in capsys.readouterr().err
