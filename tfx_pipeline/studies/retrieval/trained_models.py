"""The models that the pipeline trained last, of the data that its configuration makes now."""

from __future__ import annotations

import json

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.config.loading import read_model_section
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.reading import exists
from tfx_pipeline.pipeline import metadata_path
from tfx_pipeline.runners.history import Execution, RunHistory
from tfx_pipeline.studies.retrieval.saved_model import read_model

RETRIEVAL_TRAINER, RANKING_TRAINER = "RetrievalTrainer", "RankingTrainer"
TWO_TOWERS = "two_towers"
# What a model must have been trained on, by input of its trainer, and the step that makes it.
_DATA = {"transform_graph": "Transform", "content": "ItemContentGen"}
_FINISHED = (Execution.COMPLETE, Execution.CACHED)


def has_two_towers(config: PipelineConfig) -> bool:
    """Whether a step has trained one, on whatever data."""
    return metadata_path(config).exists() and _last(_history(config), RETRIEVAL_TRAINER) is not None


def load_two_towers(config: PipelineConfig) -> RankingModel:
    """The two-tower model of the last `RetrievalTrainer`.

    Raises:
        ModelError: there is none, it was trained on other data, or it cannot be loaded.
    """
    return _load(config, RETRIEVAL_TRAINER, artifact_files.TWO_TOWERS)[1]


def load_ranker(config: PipelineConfig) -> tuple[str, RankingModel]:
    """The registered name and the model of the last `RankingTrainer`, never a refit, which has seen what is judged.

    Raises:
        ModelError: there is none, it was trained on other data, or it cannot be loaded.
    """
    return _load(config, RANKING_TRAINER, artifact_files.KERAS_MODEL)


def _load(config: PipelineConfig, node: str, file: str) -> tuple[str, RankingModel]:
    history = _history(config)
    execution = _last(history, node)
    train_it = f"train it: dmf run --config FILE, whose output is {config.output}"
    if execution is None:
        stage = "; the configuration needs stages.retrieval" if node == RETRIEVAL_TRAINER else ""
        raise ModelError(f"{node} has not run: there is no {file} to evaluate; {train_it}{stage}")
    _check_data(history, execution, node, train_it)
    runs = history.outputs(execution.id).get("model_run", [])
    address = join(runs[0].uri, file) if runs else ""
    if not runs or not exists(address):
        raise ModelError(f"the last {node} left no {file}{f' ({address})' if runs else ''}; {train_it}")
    name = _registered(execution, node)
    return name, read_model(address, name)


def _check_data(history: RunHistory, execution: metadata_store_pb2.Execution, node: str, train_it: str) -> None:
    inputs = history.inputs(execution.id)
    for key, step in _DATA.items():
        now = _last(history, step)
        made = {artifact.uri for artifact in history.outputs(now.id).get(key, [])} if now is not None else set()
        read = {artifact.uri for artifact in inputs.get(key, [])}
        if read and read != made:
            raise ModelError(
                f"the last model of {node} was trained on another {key} than the configuration makes now: "
                f"{', '.join(sorted(read))}, not {', '.join(sorted(made)) or 'none'}; {train_it}"
            )


def _registered(execution: metadata_store_pb2.Execution, node: str) -> str:
    """The name of the model in the registry; one of somebody's own is registered."""
    if node == RETRIEVAL_TRAINER:
        return TWO_TOWERS
    settings = json.loads(execution.custom_properties["custom_config"].string_value)
    return read_model_section(json.loads(settings["model"])).name


def _history(config: PipelineConfig) -> RunHistory:
    connection = metadata.sqlite_metadata_connection_config(str(metadata_path(config)))
    with metadata.Metadata(connection) as store:
        return RunHistory(store.store, config.name)


def _last(history: RunHistory, node: str) -> metadata_store_pb2.Execution | None:
    """The newest execution of a node that has outputs."""
    finished = [one for one in history.executions(node) if one.last_known_state in _FINISHED]
    return finished[-1] if finished else None
