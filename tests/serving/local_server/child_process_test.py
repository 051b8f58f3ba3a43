"""The local server in a child process: what it tells its parent, and what it does beside serving.

How it ends, and that it does not outlive its parent: `tests/tfx_pipeline/trained/server_process_test.py`.
"""

from __future__ import annotations

import operator
import os
import signal

import pytest

from serving.client import RankingClient
from serving.local_server.child_process import ProcessEnded, ServerProcess
from serving.local_server.errors import LocalServerError


def test_one_that_dies_gives_no_reason(tmp_path):
    server = ServerProcess(tmp_path, "small")
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(ProcessEnded, match=f"the server for {tmp_path} has ended"):
        server.wait_until_ready()
    assert (server.pid, server.target) == (0, "")


@pytest.mark.slow
def test_what_cannot_be_served_is_the_servers_own_sentence(tmp_path):
    with pytest.raises(LocalServerError, match=f"^{tmp_path} has no numbered folder, a version$") as caught:
        ServerProcess(tmp_path, "small").__enter__()
    assert not isinstance(caught.value, ProcessEnded)


@pytest.mark.slow
def test_it_answers_until_the_block_ends(folder):
    folder.add(1)
    with ServerProcess(folder.path, "small") as server, RankingClient(server.target, "small") as client:
        assert client.model_status(deadline=60.0).available == (1,)
        assert server.pid != os.getpid()
    assert (server.pid, server.target) == (0, "")


@pytest.mark.slow
def test_what_it_does_beside_has_its_end_of_the_connection(folder):
    folder.add(1)
    with ServerProcess(folder.path, "small", beside=operator.methodcaller("send", "hello")) as server:
        assert server.connection.recv() == "hello"
        # It has returned, so the process ends.
        with pytest.raises(EOFError):
            server.connection.recv()
