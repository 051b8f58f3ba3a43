"""The conformance fixtures: every server engine that can run here, with every kind of client."""

from __future__ import annotations

import pytest

from tests.serving.client.servers import (
    CLIENTS,
    FakeServer,
    TensorFlowServing,
    connect,
    tensorflow_model_server,
    write_models,
)


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory):
    """SavedModels 1 to 4 for engines that load one."""
    folder = tmp_path_factory.mktemp("models")
    write_models(folder, 4)
    return folder


@pytest.fixture(params=["fake", "tensorflow_serving"])
def server(request, tmp_path):
    """A running server with version 1, of every engine that can run here."""
    if request.param == "fake":
        handle = FakeServer()
    else:
        if tensorflow_model_server() is None:
            pytest.skip("tensorflow_model_server is neither on PATH nor named by TENSORFLOW_MODEL_SERVER")
        handle = TensorFlowServing(request.getfixturevalue("saved_models"), tmp_path)
    yield handle
    handle.close()


@pytest.fixture(params=CLIENTS)
def kind(request):
    """The kind of client."""
    return request.param


@pytest.fixture
def client(server, kind):
    """A patient client of the server."""
    with connect(kind, server) as client:
        yield client
