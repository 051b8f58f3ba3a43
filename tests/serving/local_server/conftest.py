"""SavedModels whose scores tell the version, and a base path to put them in."""

from __future__ import annotations

import shutil

import pytest

from serving.export.servable import Servable
from tests.serving.local_server.asking import RANK
from tests.serving.local_server.base_path import Folder


@pytest.fixture(scope="session")
def models(small_models, tmp_path_factory):
    """SavedModels 1 to 3, as a base path."""
    folder = tmp_path_factory.mktemp("models")
    for version in "123":
        shutil.copytree(small_models / version, folder / version)
    return folder


@pytest.fixture
def folder(models, tmp_path):
    """A base path without versions."""
    path = tmp_path / "small"
    path.mkdir()
    return Folder(path, models)


@pytest.fixture(scope="session")
def expected(models):
    """Scores of the request RANK by each of the models, straight from the loader."""
    scores = {}
    for number in (1, 2, 3):
        with Servable(models / str(number), optimised=False) as servable:
            scores[number] = servable.run("rank", RANK)["score"]
    return scores
