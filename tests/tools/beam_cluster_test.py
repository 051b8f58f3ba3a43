"""The cluster for Beam says what it lacks; on it, ingestion writes the files that DirectRunner writes.

Nothing is fetched here. `make test-cluster` builds the runner and runs these tests with `DMF_PRISM`, its path.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import beam_cluster
from tools.beam_cluster import ClusterError

DIRECT = ["--runner=DirectRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1"]
EVENTS = 100_000


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _program(file: Path, text: str) -> Path:
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(stat.S_IRWXU)
    return file


def test_without_go_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert beam_cluster.main(["--state", str(tmp_path), "start", "--cache", str(tmp_path / "cache")]) == 1
    assert capsys.readouterr().err == (
        f"error: no `go` on PATH to build {beam_cluster.PRISM} with; install Go, or give a built one by --prism\n"
    )


def test_a_module_that_cannot_be_had_is_told_in_gos_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "go", "import sys; sys.exit(f'no such module: {sys.argv[2]}')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=rf"failed:\nno such module: {beam_cluster.PRISM}@v2\.[0-9.]+$"):
        beam_cluster.build_prism(tmp_path / "cache")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    prism = _program(tmp_path / "prism", "")
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=f"port {port} is taken; give another by --worker-port"):
            beam_cluster.start(tmp_path, prism, _free_ports(1)[0], port, 2)
    assert not (tmp_path / "cluster.json").exists()


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"--prism: .*absent is no program"):
        beam_cluster.start(tmp_path, tmp_path / "absent", *_free_ports(2), 2)


def test_a_runner_that_ends_at_once_leaves_nothing_running(tmp_path: Path) -> None:
    prism = _program(tmp_path / "prism", "raise SystemExit('the machine is full')")
    with pytest.raises(ClusterError, match=r"prism ended with 1; the end of .*prism\.log:\nthe machine is full"):
        beam_cluster.start(tmp_path, prism, *_free_ports(2), 2)
    with pytest.raises(ClusterError, match=r"no cluster of .* runs"):
        beam_cluster.busy_workers(tmp_path)


def test_without_a_cluster_nothing_is_killed_or_stopped(tmp_path: Path, capsys) -> None:
    assert beam_cluster.main(["--state", str(tmp_path), "kill-worker"]) == 1
    assert "no cluster of" in capsys.readouterr().err
    # A number that is another program's by now.
    (tmp_path / "cluster.json").write_text(f'{{"prism": {os.getppid()}}}')
    assert beam_cluster.main(["--state", str(tmp_path), "stop"]) == 0
    assert capsys.readouterr().out == "stopped: nothing ran\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """Folder and Beam's arguments of a cluster of two workers."""
    prism = os.environ.get("DMF_PRISM")
    if not prism:
        pytest.skip("needs Beam's runner Prism: `make test-cluster` builds it, which takes Go")
    state = tmp_path_factory.mktemp("cluster")
    try:
        yield state, beam_cluster.start(state, Path(prism), *_free_ports(2), 2)
    finally:
        beam_cluster.stop(state)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    """Configuration of a log, and what DirectRunner makes of it."""
    from tfx_pipeline.studies.bench.ingestion_log import write_log

    folder = tmp_path_factory.mktemp("log")
    config = write_log(folder, EVENTS, 10, 0).to_json()
    return config, _ingest(config, folder / "direct", DIRECT)


def _ingest(config: str, folder: Path, args: list[str]) -> dict[str, bytes]:
    """Runs the step; returns all files that it wrote, by their path in `folder`."""
    import apache_beam as beam
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    from tfx_pipeline.components.artifacts import IngestionReport
    from tfx_pipeline.components.behavior_log_example_gen.executor import Executor
    from tfx_pipeline.runners.beam_args import runner_args

    examples, report = standard_artifacts.Examples(), IngestionReport()
    examples.uri, report.uri = str(folder / "examples"), str(folder / "report")
    context = BaseBeamExecutor.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(argv=runner_args(args)))
    properties = {"config": config, "source_fingerprint": "", "code_digest": "", "failure_dir": str(folder / "failed")}
    Executor(context).Do({}, {"examples": [examples], "report": [report]}, properties)
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("during", [None, "BuildExamples", "WriteShards"])
def test_ingestion_writes_the_files_of_direct_runner(
    cluster: tuple[Path, list[str]], log: tuple[str, dict[str, bytes]], tmp_path: Path, during: str | None
) -> None:
    state, args = cluster
    killed: list[int] = []
    killing = threading.Thread(target=lambda: killed.append(beam_cluster.kill_worker(state, during or "", 120)))
    if during:
        killing.start()
    written = _ingest(log[0], tmp_path, args)
    if during:
        killing.join()
        assert f"(process {killed[0]}) ended with -9; it had ['inst" in (state / "workers.log").read_text()
    assert sorted(written) == sorted(log[1])
    assert [name for name, data in written.items() if data != log[1][name]] == []
    assert len(written) > 6


@pytest.mark.slow
def test_an_error_of_a_step_is_the_jobs(cluster: tuple[Path, list[str]]) -> None:
    import apache_beam as beam

    from tfx_pipeline.errors import DataError, own_error

    def refuse(row: int) -> None:
        raise DataError(f"row {row} has no user")

    pipeline = beam.Pipeline(argv=cluster[1])
    _ = pipeline | beam.Create([7]) | beam.Map(refuse)
    with pytest.raises(RuntimeError) as raised:
        pipeline.run().wait_until_finish()
    found = own_error(raised.value)
    assert (type(found), str(found)) == (DataError, "row 7 has no user")
