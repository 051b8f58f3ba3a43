"""The model to compare with: the newest blessed one that is not the candidate."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.types import Artifact, standard_artifacts
from tfx.utils import path_utils

from serving.contract import CONTRACT_FILE, LOGS_FILE, ModelContract
from serving.export.metadata import write_json
from tfx_pipeline.components.latest_other_blessed_model import CANDIDATE_KEY, LatestOtherBlessedModel


class Models:
    """Models and blessings in a real MLMD store."""

    def __init__(self, connection: metadata.Metadata, folder: Path):
        self._connection = connection
        self._folder = folder
        self.models: list[Artifact] = []
        self.blessings: list[Artifact] = []

    @property
    def store(self) -> mlmd.MetadataStore:
        return self._connection.store

    def add(
        self, *, blessed: bool | None, age: str = "float32", columns: tuple[str, ...] = (), ages: bool = False
    ) -> Artifact:
        """A new model, which reads `age` as that type; None: it was never evaluated."""
        model = self._publish(standard_artifacts.Model())
        exported = Path(path_utils.serving_model_dir(model.uri))
        exported.mkdir(parents=True)
        (exported / CONTRACT_FILE).write_text(
            ModelContract("dmf", 50, {"age": age}, candidate_inputs=dict.fromkeys(columns, "string")).to_json()
        )
        if ages:
            write_json(exported, LOGS_FILE, {"history_ages": True})
        self.models.append(model)
        if blessed is not None:
            blessing = standard_artifacts.ModelBlessing()
            blessing.set_int_custom_property("blessed", int(blessed))
            blessing.set_int_custom_property("current_model_id", model.id)
            self.blessings.append(self._publish(blessing))
        return model

    def _publish(self, artifact: Artifact) -> Artifact:
        artifact.uri = str(self._folder / f"{artifact.type_name}-{len(self.models)}-{len(self.blessings)}")
        artifact.type_id = self.store.put_artifact_type(artifact.artifact_type)
        (artifact.id,) = self.store.put_artifacts([artifact.mlmd_artifact])
        return artifact

    def resolve(self, *candidates: Artifact) -> dict[str, list[int]]:
        """Ids that the strategy resolves, by key."""
        inputs = {"model": [*self.models], "model_blessing": [*self.blessings], CANDIDATE_KEY: [*candidates]}
        resolved = LatestOtherBlessedModel().resolve_artifacts(self.store, inputs)
        return {key: [artifact.id for artifact in artifacts] for key, artifacts in resolved.items()}


@pytest.fixture
def models(tmp_path) -> Iterator[Models]:
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    config.sqlite.connection_mode = 3
    with metadata.Metadata(config) as connection:
        yield Models(connection, tmp_path)


def test_the_first_model_has_no_baseline(models):
    candidate = models.add(blessed=None)
    assert models.resolve(candidate) == {"model": [], "model_blessing": [], CANDIDATE_KEY: [candidate.id]}


def test_the_newest_blessed_model_is_the_baseline(models):
    models.add(blessed=True)
    newest = models.add(blessed=True)
    models.add(blessed=False)
    models.add(blessed=None)
    candidate = models.add(blessed=None)
    resolved = models.resolve(candidate)
    assert resolved["model"] == [newest.id]
    assert resolved["model_blessing"] == [models.blessings[1].id]
    assert resolved[CANDIDATE_KEY] == [candidate.id]


def test_a_cached_candidate_that_was_blessed_before_is_not_its_own_baseline(models):
    older = models.add(blessed=True)
    candidate = models.add(blessed=True)
    assert models.resolve(candidate)["model"] == [older.id]


def test_a_cached_only_model_has_no_baseline(models):
    """Run again with nothing changed: the Evaluator must see the inputs of its first run, or it runs again."""
    candidate = models.add(blessed=True)
    assert models.resolve(candidate) == {"model": [], "model_blessing": [], CANDIDATE_KEY: [candidate.id]}


def test_a_deleted_model_is_passed_over(models):
    older, deleted = models.add(blessed=True), models.add(blessed=True)
    shutil.rmtree(deleted.uri)
    assert models.resolve(models.add(blessed=None))["model"] == [older.id]


def test_a_model_that_reads_a_column_as_another_type_is_passed_over(models):
    models.add(blessed=True, age="string")
    candidate = models.add(blessed=None, age="float32")
    assert models.resolve(candidate)["model"] == []


def test_a_model_that_takes_columns_which_candidates_no_longer_have_is_passed_over(models):
    plain = models.add(blessed=True)
    models.add(blessed=True, columns=("badge",))
    found = models.resolve(models.add(blessed=None))
    assert found["model"] == [plain.id]
    both = models.add(blessed=True, columns=("badge",))
    assert models.resolve(models.add(blessed=None, columns=("badge", "slot")))["model"] == [both.id]


def test_a_model_that_reads_ages_which_the_examples_lack_is_passed_over(models):
    older = models.add(blessed=True)
    models.add(blessed=True, ages=True)
    assert models.resolve(models.add(blessed=None))["model"] == [older.id]


def test_a_model_without_ages_is_a_baseline_of_one_with_them(models):
    older = models.add(blessed=True)
    assert models.resolve(models.add(blessed=None, ages=True))["model"] == [older.id]
