"""A Beam runner with workers of its own on this machine: Prism, and Python workers that may be killed.

    .venv/bin/python -m tools.beam_cluster start            # prints the arguments for `beam.args`
    .venv/bin/python -m tools.beam_cluster status           # which worker has what
    .venv/bin/python -m tools.beam_cluster kill-worker      # one that has work; --during WriteShards: with that
    .venv/bin/python -m tools.beam_cluster stop

Prism is Beam's portable runner in Go; Go builds it from its module, in the version of the installed apache-beam, once,
into `--cache`. `--prism` takes a finished one. The workers are those of `tools/beam_workers.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

# Of the folder `--state`, by the workers: by process id, the transforms of each bundle that the process has.
WORKERS = "workers.json"
PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_CACHE = Path.home() / ".cache" / "dmf-beam"
_STATE = Path("runs") / "beam-cluster"
_RUNNING = "cluster.json"
_START_S, _STOP_S, _BUILD_S = 60, 20, 900


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says why, and what to do."""


def build_prism(cache: Path) -> Path:
    """The runner in the version of the installed apache-beam: from the cache, or built into it.

    Raises:
        ClusterError: there is no Go, or it cannot have the module.
    """
    version = importlib.metadata.version("apache-beam")
    folder = cache / version
    binary = folder / "prism"
    if binary.exists():
        return binary
    if shutil.which("go") is None:
        raise ClusterError(f"no `go` on PATH to build {PRISM} with; install Go, or give a built one by --prism")
    print(f"building Prism {version} into {folder}, once", file=sys.stderr)
    command = ["go", "install", f"{PRISM}@v{version}"]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        environment = os.environ | {"GOBIN": str(Path(beside).resolve())}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_BUILD_S)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"`{shlex.join(command)}` did not end in {_BUILD_S} s; try again") from None
        if done.returncode:
            raise ClusterError(f"`{shlex.join(command)}` failed:\n{done.stderr.strip()[-1000:]}")
        (Path(beside) / binary.name).replace(binary)
    return binary


def start(state: Path, prism: Path, job_port: int, worker_port: int, workers: int) -> list[str]:
    """Starts runner and workers, and waits until both answer.

    Args:
        state: folder for logs and what runs; made if it is not there.
        prism: the runner.
        job_port, worker_port: of this machine.
        workers: Python processes of each job.

    Returns:
        What goes into `beam.args`.

    Raises:
        ClusterError: one runs already, a port is taken, or a part ends instead of answering.
    """
    if running := _alive(state):
        raise ClusterError(f"a cluster of {state} runs: {', '.join(running)}; stop it first")
    if not os.access(prism, os.X_OK):
        raise ClusterError(f"--prism: {prism} is no program")
    for option, port in (("--job-port", job_port), ("--worker-port", worker_port)):
        if _answers(port):
            raise ClusterError(f"port {port} is taken; give another by {option}")
    state.mkdir(parents=True, exist_ok=True)
    (state / WORKERS).unlink(missing_ok=True)
    module = [sys.executable, "-m", "tools.beam_workers", "--state", str(state.resolve())]
    parts = {
        "prism": ([str(prism.resolve()), f"-job_port={job_port}", "-serve_http=false"], job_port),
        "workers": ([*module, f"--port={worker_port}", f"--workers={workers}"], worker_port),
    }
    processes = {}
    for name, (command, _) in parts.items():
        with (state / f"{name}.log").open("wb") as log:
            # A session of its own: the cluster outlives the terminal.
            processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=_root()
            )
    running = {name: process.pid for name, process in processes.items()}
    (state / _RUNNING).write_text(json.dumps(running), encoding="utf-8")
    for name, (_, port) in parts.items():
        try:
            _wait_for(name, processes[name], port, state / f"{name}.log")
        except ClusterError:
            stop(state)
            raise
    return [
        "--runner=PortableRunner",
        f"--job_endpoint=localhost:{job_port}",
        "--environment_type=EXTERNAL",
        f"--environment_config=localhost:{worker_port}",
    ]


def stop(state: Path) -> list[str]:
    """Ends what runs, and returns its names."""
    running = _alive(state)
    for pid in running.values():
        os.kill(pid, signal.SIGTERM)
    ends = time.monotonic() + _STOP_S
    while _alive(state) and time.monotonic() < ends:
        time.sleep(0.1)
    for pid in _alive(state).values():
        os.kill(pid, signal.SIGKILL)
    for name in (_RUNNING, WORKERS):
        (state / name).unlink(missing_ok=True)
    return list(running)


def busy_workers(state: Path) -> dict[int, list[str]]:
    """The Python workers by process id, each with the transforms of its bundles.

    Raises:
        ClusterError: no cluster runs.
    """
    if not _alive(state):
        raise ClusterError(f"no cluster of {state} runs; start it first")
    with contextlib.suppress(FileNotFoundError):
        found = json.loads((state / WORKERS).read_text(encoding="utf-8"))
        return {int(pid): bundles for pid, bundles in found.items()}
    return {}


def kill_worker(state: Path, during: str = "", wait_s: float = 0) -> int:
    """Kills a worker that has work, at once and without warning.

    Args:
        state: folder of the cluster.
        during: part of the name of a transform that it is to have.
        wait_s: how long to wait for one.

    Returns:
        Its process id.

    Raises:
        ClusterError: none has such work.
    """
    ends = time.monotonic() + wait_s
    while True:
        workers = busy_workers(state)
        for pid, bundles in workers.items():
            if any(during in transforms for transforms in bundles):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return pid
        if time.monotonic() >= ends:
            what = f"work with '{during}' in its name" if during else "work"
            raise ClusterError(f"none of {len(workers)} workers has {what}")
        time.sleep(0.02)


def _root() -> Path:
    return Path(__file__).resolve().parents[1]


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
        return True
    return False


def _wait_for(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + _START_S
    while not _answers(port):
        ended = process.poll()
        if ended is not None or time.monotonic() > ends:
            what = f"does not answer on port {port}" if ended is None else f"ended with {ended}"
            last = log.read_text(encoding="utf-8", errors="replace").strip()[-1000:]
            raise ClusterError(f"{name} {what}; the end of {log}:\n{last}")
        time.sleep(0.1)


def _alive(state: Path) -> dict[str, int]:
    """What `start` began and still runs: process ids by name."""
    try:
        noted: dict[str, int] = json.loads((state / _RUNNING).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: pid for name, pid in noted.items() if _is_ours(name, pid)}


def _is_ours(name: str, pid: int) -> bool:
    # After a restart of the machine the number may be another program's. Of one that has ended the line is empty.
    with contextlib.suppress(OSError):
        return name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line and does it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, default=_STATE, help=f"folder for logs and what runs (default: {_STATE})")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("start", help="start runner and workers, print beam.args")
    starting.add_argument("--workers", type=int, default=2, help="Python processes of each job (default: 2)")
    starting.add_argument("--job-port", type=int, default=8073)
    starting.add_argument("--worker-port", type=int, default=8075)
    starting.add_argument("--prism", type=Path, help="the runner, built already, in the version of apache-beam")
    building = commands.add_parser("prism", help="build the runner if it is not there, print its path")
    for each in (starting, building):
        each.add_argument("--cache", type=Path, default=_CACHE, help=f"folder for what is built (default: {_CACHE})")
    commands.add_parser("stop", help="end what runs")
    commands.add_parser("status", help="print the workers and what each has")
    killing = commands.add_parser("kill-worker", help="kill a worker that has work")
    killing.add_argument("--during", default="", help="part of the name of a transform that it is to have")
    killing.add_argument("--wait", type=float, default=60, help="seconds to wait for one (default: 60)")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.command == "start":
            prism = parsed.prism or build_prism(parsed.cache)
            args = start(parsed.state, prism, parsed.job_port, parsed.worker_port, parsed.workers)
            print("beam:\n  args:", *args, sep="\n    - ")
        elif parsed.command == "prism":
            print(build_prism(parsed.cache))
        elif parsed.command == "stop":
            print(f"stopped: {', '.join(stop(parsed.state)) or 'nothing ran'}")
        elif parsed.command == "status":
            for pid, bundles in busy_workers(parsed.state).items():
                print(pid, *(f"\n  {transforms}" for transforms in bundles), sep="")
        else:
            print(f"killed {kill_worker(parsed.state, parsed.during, parsed.wait)}")
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
