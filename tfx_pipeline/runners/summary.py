"""What a run came to, gathered from the artifacts of its steps: plain values for people and `--summary-json`."""

from __future__ import annotations

from typing import Any

from tfx.orchestration import metadata
from tfx.utils import path_utils

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.evaluation.results import read_metrics, read_validation
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.pipeline import metadata_path
from tfx_pipeline.runners.history import RunHistory
from tfx_pipeline.runners.local import Step
from tfx_pipeline.training.search.report import read_report


def build_summary(config: PipelineConfig, steps: list[Step]) -> dict[str, Any]:
    """Reads the reports of all steps, whether they ran or came from the cache.

    Args:
        config: of the run.
        steps: what became of each node.

    Returns:
        JSON-able values:
        `pipeline`, `model`, `output`;
        `steps`: node, state, reason, seconds, rows (None where a step has none to count);
        `ingestion`: the ingestion report; `content`: coverage by modality; `anomalies`: none, or the run had stopped;
        `tuning`: the report of the Tuner, see `tfx_pipeline.training.search.report`; None where there is none;
        `training`: metrics of each epoch, best epoch, requests; `metrics`: by split and slice;
        `validation` and `serving_gate`: whether the model passed, and what it failed;
        `pushed`, `model_path`: the pushed version, or None; `artifacts`: where each output lies.
    """
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(metadata_path(config)))) as store:
        history = RunHistory(store.store, config.name)
        outputs = {step.node: history.outputs(step.execution_id) for step in steps}

    def only(node: str, key: str) -> Any:
        return outputs[node][key][0]

    ingestion = _read(only("BehaviorLogExampleGen", "report").uri, artifact_files.INGESTION_REPORT)
    content = _read(only("ItemContentGen", "content").uri, artifact_files.CONTENT_MANIFEST)
    training = _read(only("RankingTrainer", "model_run").uri, artifact_files.TRAINING_RESULT)
    tuning = read_report(only("RankingTuner", "tuner_results").uri) if "RankingTuner" in outputs else None
    evaluation_dir = only("Evaluator", "evaluation").uri
    metrics = read_metrics(evaluation_dir)
    validation = read_validation(evaluation_dir)
    gate = _read(only("ServingGate", "blessing").uri, artifact_files.GATE_REPORT)
    pushed = only("Pusher", "pushed_model")
    is_pushed = pushed.get_int_custom_property("pushed") == 1

    requests = {split: counts["requests"] for split, counts in ingestion["splits"].items()}
    candidates = sum(metrics[split]["overall"]["example_count"] for split in metrics)
    rows = {
        "BehaviorLogExampleGen": ingestion["rows_read"],
        "ItemContentGen": content["items"],
        "StatisticsGen": sum(requests.values()),
        "Transform": requests["train"] + requests["eval"],
        "RankingTuner": training["train_requests"],
        "RankingTrainer": training["train_requests"],
        "Evaluator": round(candidates),
        "ServingGate": gate["golden_requests"] + gate["warmup_requests"],
    }
    return {
        "pipeline": config.name,
        "model": config.model.name,
        "output": str(config.output),
        "steps": [
            {
                "node": step.node,
                "state": step.state,
                "reason": step.reason,
                "seconds": round(step.seconds, 2),
                "rows": rows.get(step.node),
            }
            for step in steps
        ],
        "ingestion": ingestion,
        "content": {
            name: {"width": facts["width"], **facts["coverage"]} for name, facts in content["modalities"].items()
        },
        "tuning": tuning,
        "training": training,
        "metrics": metrics,
        "validation": {"blessed": validation.blessed, "failures": validation.failures},
        "serving_gate": gate,
        "pushed": is_pushed,
        "model_path": pushed.get_string_custom_property("pushed_destination") if is_pushed else None,
        "artifacts": {
            "examples": only("BehaviorLogExampleGen", "examples").uri,
            "quarantine": join(only("BehaviorLogExampleGen", "report").uri, artifact_files.QUARANTINE),
            "ingestion_report": only("BehaviorLogExampleGen", "report").uri,
            "transformed_examples": only("Transform", "transformed_examples").uri,
            "transform_graph": only("Transform", "transform_graph").uri,
            "content": only("ItemContentGen", "content").uri,
            "model": path_utils.serving_model_path(only("RankingTrainer", "model").uri),
            "training": only("RankingTrainer", "model_run").uri,
            "evaluation": evaluation_dir,
        },
    }


def _read(uri: str, file: str) -> dict[str, Any]:
    return read_json(join(uri, file))
