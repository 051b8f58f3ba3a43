"""`evaluate_retrieval` on the tiny world: the models of a run's record, the report, what is refused."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2
from rich.text import Text
from tfx.orchestration import metadata

from tests.tfx_pipeline.conftest import ITEMS
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.stages import Stages
from tfx_pipeline.console import Console
from tfx_pipeline.errors import ConfigError, ModelError
from tfx_pipeline.files import artifact_files
from tfx_pipeline.pipeline import metadata_path
from tfx_pipeline.studies.retrieval.contenders import check_names, default_names, page_weights
from tfx_pipeline.studies.retrieval.evaluation import evaluate_retrieval
from tfx_pipeline.studies.retrieval.report import RetrievalReport
from tfx_pipeline.studies.retrieval.tables import print_report
from tfx_pipeline.studies.retrieval.trained_models import has_two_towers, load_ranker, load_two_towers
from tfx_pipeline.training.model_training import new_model


class Record:
    """What a pipeline's runs leave in the store of metadata, written by hand."""

    def __init__(self, config: PipelineConfig):
        metadata_path(config).parent.mkdir(parents=True, exist_ok=True)
        self._pipeline = config.name
        connection = metadata.sqlite_metadata_connection_config(str(metadata_path(config)))
        with metadata.Metadata(connection) as store:
            self._store = store.store
        self._node = self._store.put_context_type(metadata_store_pb2.ContextType(name="node"))
        self._kind = self._store.put_artifact_type(metadata_store_pb2.ArtifactType(name="ModelRun"))

    def artifact(self, uri: Path) -> int:
        artifact = metadata_store_pb2.Artifact(type_id=self._kind, uri=str(uri))
        return self._store.put_artifacts([artifact])[0]

    def ran(self, node: str, inputs: dict[str, int], outputs: dict[str, int], model: str = "dmf", cached=False) -> None:
        kind = self._store.put_execution_type(metadata_store_pb2.ExecutionType(name=node))
        states = metadata_store_pb2.Execution
        execution = metadata_store_pb2.Execution(
            type_id=kind, last_known_state=states.CACHED if cached else states.COMPLETE
        )
        settings = json.dumps({"model": json.dumps({"name": model, "params": {}})})
        execution.custom_properties["custom_config"].string_value = settings
        context = metadata_store_pb2.Context(type_id=self._node, name=f"{self._pipeline}.{node}")
        found = self._store.get_context_by_type_and_name("node", context.name)
        events = []
        for way, artifacts in ((metadata_store_pb2.Event.INPUT, inputs), (metadata_store_pb2.Event.OUTPUT, outputs)):
            for key, artifact in artifacts.items():
                event = metadata_store_pb2.Event(artifact_id=artifact, type=way)
                event.path.steps.add().key = key
                event.path.steps.add().index = 0
                events.append((self._store.get_artifacts_by_id([artifact])[0], event))
        try:
            self._store.put_execution(execution, events, [found or context])
        except mlmd.errors.AlreadyExistsError:
            raise AssertionError(node) from None


@pytest.fixture
def config(tmp_path) -> PipelineConfig:
    nowhere = {"path": str(tmp_path / "nowhere.parquet")}
    return PipelineConfig.model_validate(
        {
            "name": "tiny",
            "output": str(tmp_path / "out"),
            "data": {"interactions": nowhere, "items": nowhere},
            "split": {"fractions": {}},
            "content": {"modalities": {name: {**nowhere, "width": 6} for name in ("text", "image")}},
        }
    )


@pytest.fixture
def record(config, tmp_path, tiny_data) -> Record:
    """Data steps, a ranker and two towers, both untrained."""
    record = Record(config)
    graph, content, other = (record.artifact(tmp_path / name) for name in ("graph", "content", "other"))
    record.ran("Transform", {}, {"transform_graph": graph})
    record.ran("ItemContentGen", {}, {"content": content})
    data = {"transform_graph": graph, "content": content}
    for node, name, file in (
        ("RankingTrainer", "mean_pooling", artifact_files.KERAS_MODEL),
        ("RetrievalTrainer", "two_towers", artifact_files.TWO_TOWERS),
    ):
        run = tmp_path / node
        run.mkdir()
        params = {"id_dim": 8, "hidden_units": [8]}
        new_model(name, params, tiny_data.training_data, seed=2).save(run / file)
        record.ran(node, data, {"model_run": record.artifact(run)}, name)
    record.data, record.other = data, other
    return record


def test_retrievers_a_cascade_and_the_whole_catalogue_in_one_report(config, record, tiny_data, monkeypatch):
    monkeypatch.setattr("tfx_pipeline.studies.preparation.prepare", lambda config: tiny_data)
    report = evaluate_retrieval(config, at_k=[10, 5], cascade=True, weights=[3.0, 0.5, 3.0])
    names = [(entry.retriever, entry.candidates, entry.retrieval_weight) for entry in report.lists]
    # Forty items: the ranker is handed all of them. Scores of baselines are no logits.
    expected = ["popularity", "co_occurrence", "content", "two_towers"]
    both = [("two_towers", 40, 0.5), ("two_towers", 40, 3.0)]
    assert names == [*((name, count, 0.0) for name in expected for count in (None, 40)), *both]
    assert report.lists[-1].metrics["ndcg@10"] != report.lists[-3].metrics["ndcg@10"]
    assert (report.at_k, report.items, report.frequency, report.split) == ([5, 10], 40, "impressions", "test")
    assert report.ranker is not None and report.ranker.model == "mean_pooling"
    alone, ranked = report.lists[0], report.lists[1]
    # All items ranked are the whole catalogue ranked, but for ties, which have an order in lists.
    assert ranked.metrics["hr@10"].mean == pytest.approx(report.ranker.metrics["hr@10"].mean, abs=0.02)
    for entry in report.lists:
        for estimate in entry.metrics.values():
            assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1
        frequency = entry.slices["item_frequency"]
        assert sum(one.positives for one in frequency.values()) == report.positives
        assert sum(one.positives for one in entry.slices["item_positives"].values()) == report.positives
        assert sum(one.requests for one in entry.slices["history_length"].values()) == report.requests
    assert 0 < alone.coverage["5"] <= alone.coverage["10"] < 1
    assert RetrievalReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    printed = io.StringIO()
    print_report(report, Console(file=printed, width=140))
    text = Text.from_ansi(printed.getvalue()).plain
    for part in (
        "HR@k, test",
        "recall@k, test",
        "40, then mean_pooling",
        "40, then mean_pooling + 0.5 x retrieval",
        "Choose w on eval",
        "mean_pooling, all items",
        "recall@10 by item",
    ):
        assert part in text


def test_the_weight_is_that_of_the_configuration_unless_others_are_given(config):
    assert page_weights(config, None) == [0.0]
    weighted = config.model_copy(update={"stages": Stages.model_validate({"ranking": {"retrieval_weight": 2}})})
    assert (page_weights(weighted, None), page_weights(weighted, [1.0])) == ([0.0, 2.0], [0.0, 1.0])


def test_weights_are_of_towers_and_of_a_ranker_that_orders_pages(config, tiny_data, monkeypatch):
    monkeypatch.setattr("tfx_pipeline.studies.preparation.prepare", lambda config: tiny_data)
    with pytest.raises(ConfigError, match="--weights: of the scores of two_towers, which are not among"):
        evaluate_retrieval(config, ["popularity"], cascade=True, weights=[1.0])
    formula = config.model_copy(update={"serving": config.serving.model_copy(update={"score": "click * buy"})})
    with pytest.raises(ConfigError, match=r"serving\.score orders pages"):
        page_weights(formula, [1.0])
    assert page_weights(formula, None) == [0.0]


def test_cut_offs_and_names_are_checked(config, tiny_data, monkeypatch):
    monkeypatch.setattr("tfx_pipeline.studies.preparation.prepare", lambda config: tiny_data)
    with pytest.raises(ConfigError, match="--k: got 41; expected at most 40, the items of the catalogue"):
        evaluate_retrieval(config, ["popularity"], [41])
    with pytest.raises(ConfigError, match="unknown 'popularty'; did you mean 'popularity'"):
        evaluate_retrieval(config, ["popularty"])
    with pytest.raises(ConfigError, match=r"unknown 'content@sound'; .*allowed: co_occurrence, content, content@image"):
        check_names(config, ["content@sound"])
    bare = config.model_copy(update={"content": config.content.model_copy(update={"modalities": {}})})
    with pytest.raises(ConfigError, match="unknown 'content'"):
        check_names(bare, ["content"])
    assert default_names(bare, has_two_towers=False) == ["popularity", "co_occurrence"]
    report = evaluate_retrieval(config, ["popularity", "content@text", "popularity"])
    # Of the default cut-offs those that the catalogue has items for.
    assert report.at_k == [5, 10] and [entry.retriever for entry in report.lists] == ["popularity", "content@text"]
    assert report.items == len(ITEMS) and report.ranker is None


def test_models_are_the_last_of_the_data_as_it_is(config, record, tmp_path):
    name, model = load_ranker(config)
    assert (name, type(model).__name__) == ("mean_pooling", "MeanPooling")
    assert type(load_two_towers(config)).__name__ == "TwoTowers" and has_two_towers(config)
    # Data steps that ran again, with another result.
    record.ran("Transform", {}, {"transform_graph": record.other})
    with pytest.raises(ModelError, match=r"was trained on another transform_graph .*graph, not .*other;"):
        load_ranker(config)
    # And back: from the cache.
    record.ran("Transform", {}, {"transform_graph": record.data["transform_graph"]}, cached=True)
    load_ranker(config)
    (tmp_path / "RankingTrainer" / artifact_files.KERAS_MODEL).write_text("no model")
    with pytest.raises(ModelError, match=r"model\.keras cannot be loaded: "):
        load_ranker(config)
    shutil.rmtree(tmp_path / "RankingTrainer")
    with pytest.raises(ModelError, match="the last RankingTrainer left no model"):
        load_ranker(config)


def test_a_model_that_was_never_trained_is_asked_for_in_a_sentence(config):
    Record(config)
    assert not has_two_towers(config)
    with pytest.raises(ModelError, match=r"RetrievalTrainer has not run: .*dmf run .*needs stages.retrieval"):
        load_two_towers(config)
