"""SavedModels whose scores tell the version, and a base path to put them in."""

from __future__ import annotations

import shutil

import pytest

from serving.servable_check import Servable
from tests.serving.client.small_saved_model import main as write_small_models
from tests.serving.local_server.asking import RANK


class Folder:
    """A base path; versions of `models` are put there under any number, whole or by and by."""

    def __init__(self, path, models):
        self.path = path
        self.models = models

    def add(self, number: int, model: int | None = None):
        """A version, by atomic rename; model `number` unless another is named."""
        partial = self.path / f"{number}.partial"
        shutil.copytree(self.models / str(model or number), partial)
        partial.rename(self.path / str(number))
        return self.path / str(number)

    def remove(self, number: int) -> None:
        shutil.rmtree(self.path / str(number))


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """SavedModels 1 to 3."""
    folder = tmp_path_factory.mktemp("models")
    write_small_models(str(folder), "3")
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
        with Servable(models / str(number)) as servable:
            scores[number] = servable.run("rank", RANK)["score"]
    return scores
