"""Files that the server may not read are a sentence and a status, and what is loaded goes on."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from serving.local_server.errors import LocalServerError
from serving.local_server.server import LocalServer
from tests.serving.local_server.asking import Asker, until
from tests.serving.local_server.base_path import Folder

NOBODY = 65534


@contextlib.contextmanager
def without_privileges():
    """As a user whom files can be kept from; they are kept from nobody who is root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder(models):
    """A base path whose parents everybody may pass, and to which versions can be added without privileges."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "small")
        path.mkdir()
        if os.geteuid() == 0:
            os.chmod(name, 0o755)
            os.chown(path, NOBODY, -1)
        yield Folder(path, models)


@pytest.mark.parametrize("part", ["", "variables", "saved_model.pb"])
def test_a_version_that_may_not_be_read_is_one_that_cannot_be_loaded(folder, expected, part):
    folder.add(1)
    forbidden = folder.add(2).rename(folder.path / "2.partial")
    (forbidden / part).chmod(0)
    events = []
    with LocalServer(folder.path, poll_seconds=0.05, on_event=events.append) as server, Asker(server.target) as asker:
        with without_privileges():
            forbidden.rename(folder.path / "2")
            until(lambda: any(event.problem for event in events))
            assert asker.states() == {1: "AVAILABLE", 2: "END"}
            assert "ermission denied" in asker.status()[2].status.error_message
            version, outputs = asker.predict()
            assert version == 1
            np.testing.assert_allclose(outputs["score"], expected[1], atol=1e-6)
        (folder.path / "2" / part).chmod(0o755)


def test_a_base_path_that_may_not_be_read(folder):
    folder.add(1)
    folder.path.chmod(0)
    with without_privileges(), pytest.raises(LocalServerError, match="small cannot be read: Permission denied"):
        LocalServer(folder.path)
    folder.path.chmod(0o755)
