"""The conformance fixtures: every server engine that can run here, with every kind of client."""

from __future__ import annotations

import pytest

from tests.serving.client.servers import (
    FakeServer,
    LocalEngine,
    TensorFlowServing,
    connect,
    tensorflow_model_server,
)

ENGINES = {"local": LocalEngine, "tensorflow_serving": TensorFlowServing}
RUNNABLE = ["fake", pytest.param("local", marks=pytest.mark.slow)]
if tensorflow_model_server() is not None:
    RUNNABLE.append(pytest.param("tensorflow_serving", marks=pytest.mark.slow))


@pytest.fixture(scope="session")
def engines(small_models, tmp_path_factory):
    """Returns engines(name): one server over SavedModels 1 to 4 for all tests, as it began."""
    started = {}
    folder = tmp_path_factory.mktemp("engines")

    def engine(name):
        if name not in started:
            started[name] = ENGINES[name](small_models, folder / name)
        else:
            started[name].reset()
        return started[name]

    yield engine
    for handle in started.values():
        handle.close()


@pytest.fixture(params=RUNNABLE)
def server(request):
    """A running server with version 1, of every engine that can run here."""
    if request.param != "fake":
        yield request.getfixturevalue("engines")(request.param)
        return
    handle = FakeServer()
    yield handle
    handle.close()


@pytest.fixture
def client(server, kind):
    """A patient client of the server."""
    with connect(kind, server) as client:
        yield client
