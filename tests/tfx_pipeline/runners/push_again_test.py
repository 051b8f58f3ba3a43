"""When the Pusher's cache may be used: quick steps under the pipeline's names, in a real store."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import standard_artifacts

from tfx_pipeline.runners.local import must_push_again

NAME = "quick"

# No `from __future__ import annotations` here: TFX reads the annotations of a component's function as they are.


@component
def RankingTrainer(model: OutputArtifact[standard_artifacts.Model], rate: Parameter[int]):
    Path(model.uri, "rate").write_text(str(rate))


@component
def Pusher(
    model: InputArtifact[standard_artifacts.Model],
    pushed_model: OutputArtifact[standard_artifacts.PushedModel],
    served: Parameter[str],
    blessed: Parameter[int],
):
    if blessed:
        version = Path(served, str(len(list(Path(served).iterdir())) + 1))
        shutil.copytree(model.uri, version)
        pushed_model.set_string_custom_property("pushed_destination", str(version))


@pytest.fixture
def served(tmp_path: Path) -> Path:
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@pytest.fixture
def train(tmp_path: Path, served: Path) -> Callable[..., bool]:
    """train(rate, push=, blessed=): runs (or reuses) the steps; whether the last push is not of the trained model."""
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))

    def _train(rate: int, *, push: bool = False, blessed: int = 1) -> bool:
        trainer = RankingTrainer(rate=rate)
        components = [trainer]
        if push:
            components.append(Pusher(model=trainer.outputs["model"], served=str(served), blessed=blessed))
        LocalDagRunner().run(
            tfx.dsl.Pipeline(
                pipeline_name=NAME,
                pipeline_root=str(tmp_path / "artifacts"),
                metadata_connection_config=connection,
                components=components,
                enable_cache=True,
            )
        )
        return must_push_again(connection, NAME, "RankingTrainer")

    return _train


def test_a_model_that_was_pushed_last_is_not_pushed_again(train):
    assert not train(1), "without any push there is nothing to compare with"
    assert not train(1, push=True)
    assert not train(1)


def test_going_back_to_an_older_model_pushes_it_again(train):
    train(1, push=True)
    assert train(2)
    assert not train(2, push=True)
    assert train(1), "the newest version is of the other model"


def test_a_model_that_was_not_blessed_changes_nothing(train):
    train(1, push=True)
    train(2, push=True, blessed=0)
    assert not train(1)


def test_a_version_that_is_gone_is_pushed_again(train, served):
    train(1, push=True)
    shutil.rmtree(served / "1")
    assert train(1)
