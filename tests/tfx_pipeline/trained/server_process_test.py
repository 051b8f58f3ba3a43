"""A server in a process of its own: it ends when it should, and says why it cannot begin."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.client import RankingClient
from tfx_pipeline.errors import ModelError
from tfx_pipeline.trained.server_process import ServerProcess


def ended(pid: int) -> bool:
    """Whether there is no such process, or only what its parent has not collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_one_that_is_not_ready_ends_at_once(tmp_path):
    server = ServerProcess(tmp_path, "shop")
    server.start()
    pid = server.pid
    assert not ended(pid)
    server.stop()
    assert ended(pid)
    assert server.pid == 0
    server.stop()


def test_one_that_dies_is_a_sentence(tmp_path):
    server = ServerProcess(tmp_path, "shop")
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match=rf"the server for {tmp_path} has ended; `dmf serve .*` shows more"):
        server.wait_until_ready()
    assert server.pid == 0


def test_one_that_says_nothing_is_not_waited_for_without_end(tmp_path):
    server = ServerProcess(tmp_path, "shop")
    server.start()
    with pytest.raises(ModelError, match=r"was not ready after 0\.1 seconds"):
        server.wait_until_ready(0.1)
    assert server.pid == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("nowhere", "nowhere does not exist"),
        ("empty", "empty has no numbered folder"),
        ("broken", "version 1 cannot be loaded: "),
    ],
)
def test_what_cannot_be_served_is_the_servers_own_sentence(tmp_path, folder, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(ModelError, match=f"the model cannot be served: .*{sentence}"):
        ServerProcess(tmp_path / folder, "shop").__enter__()


@pytest.mark.slow
def test_it_serves_and_does_not_outlive_its_parent(small_models, tmp_path):
    shutil.copytree(small_models / "1", tmp_path / "1")
    program = (
        "import time\nfrom pathlib import Path\nfrom tfx_pipeline.trained.server_process import ServerProcess\n"
        f"with ServerProcess(Path({str(tmp_path)!r}), 'shop') as server:\n"
        "    print(server.pid, server.target, flush=True)\n    time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        pid, target = parent.stdout.readline().split()
        with RankingClient(target, "shop") as client:
            assert client.model_status(deadline=60.0).available == (1,)
        # Nothing of the parent's runs after this.
        parent.kill()
    give_up = time.monotonic() + 300
    while not ended(int(pid)):
        assert time.monotonic() < give_up, "the server is still there"
        time.sleep(0.2)
