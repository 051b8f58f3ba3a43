"""Python workers of a Beam runner that give what a lost worker had to another: `tools/beam_cluster.py` starts them.

    .venv/bin/python -m tools.beam_workers --port 8075 --workers 2 --state folder

Beam's own worker pool has one process for a job. If it dies, the runner Prism gives the job up. This one is for the
runner one worker too, but has several processes. A bundle's input is kept until the bundle is done, and its output goes
to the runner only then. So a bundle whose process died runs again in another, as on Flink, Spark or Dataflow.

It serves Beam's Fn API on both sides: to the runner as a pool (`--environment_type=EXTERNAL`) and a worker, to its
processes as a runner.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2 as fn
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services

from tools.beam_cluster import WORKERS
from tools.beam_job import UNLIMITED, Job, Process, say


class Pool(
    services.BeamFnExternalWorkerPoolServicer,
    services.BeamFnControlServicer,
    services.BeamFnDataServicer,
    services.BeamFnStateServicer,
):
    """What runners and processes call.

    Args:
        port: to listen on.
        workers: processes of each job.
        state: folder that gets `WORKERS`.

    Raises:
        RuntimeError: the port is taken.
    """

    def __init__(self, port: int, workers: int, state: Path) -> None:
        self._workers, self._state = workers, state
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Event()
        # Without the two, a worker that is busy and asks whether its runner is there loses it after a minute.
        options = [*UNLIMITED, ("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0)]
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=200), options=options)
        for add in (
            services.add_BeamFnExternalWorkerPoolServicer_to_server,
            services.add_BeamFnControlServicer_to_server,
            services.add_BeamFnDataServicer_to_server,
            services.add_BeamFnStateServicer_to_server,
        ):
            add(self, self._server)
        self._address = f"localhost:{port}"
        self._server.add_insecure_port(self._address)
        self._server.start()

    def serve(self) -> None:
        """Until the process is ended."""
        threading.Thread(target=self._note, daemon=True).start()
        self._changed.set()
        try:
            self._server.wait_for_termination()
        finally:
            for job in self._jobs.values():
                job.stop()

    def StartWorker(self, request: Any, context: Any) -> Any:
        """A job begins."""
        name = request.worker_id
        say(f"job {name} begins with {self._workers} workers")
        self._jobs[name] = Job(name, request.control_endpoint.url, self._address, self._workers, self._changed.set)
        self._changed.set()
        return fn.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:
        """A job is over."""
        job = self._jobs.pop(request.worker_id, None)
        if job:
            job.stop()
            say(f"job {job.name} is over")
        return fn.StopWorkerResponse()

    def Control(self, answers: Iterator[Any], context: Any) -> Iterator[Any]:
        """Work for a process."""
        job, process = self._caller(context)
        process.connected = True
        _read_aside(answers, lambda answer: job.answered(process, answer))
        yield from iter(process.queues["control"].get, None)

    def GetProcessBundleDescriptor(self, request: Any, context: Any) -> Any:
        """What a process is to do with a bundle."""
        job, _ = self._caller(context)
        return job.describe(request.process_bundle_descriptor_id)

    def Data(self, elements: Iterator[Any], context: Any) -> Iterator[Any]:
        """Elements for a process."""
        job, process = self._caller(context)
        _read_aside(elements, lambda each: job.made(process, each))
        yield from iter(process.queues["data"].get, None)

    def State(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        """Side inputs for a process."""
        job, process = self._caller(context)
        _read_aside(requests, lambda each: job.asks_state(process, each))
        yield from iter(process.queues["state"].get, None)

    def _caller(self, context: Any) -> tuple[Job, Process]:
        name = dict(context.invocation_metadata()).get("worker_id", "")
        job = self._jobs.get(name.rpartition("/")[0])
        process = job.processes.get(name) if job else None
        if job is None or process is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no worker {name!r} is of a job that runs")
            raise AssertionError("abort raises")
        return job, process

    def _note(self) -> None:
        # By a thread of its own, which waits for jobs while no job waits for it.
        while self._changed.wait():
            self._changed.clear()
            processes = [(job, each) for job in list(self._jobs.values()) for each in list(job.processes.values())]
            beside = self._state / f"{WORKERS}.new"
            beside.write_text(json.dumps({each.pid: job.steps_of(each) for job, each in processes}), encoding="utf-8")
            beside.replace(self._state / WORKERS)


def _read_aside(messages: Iterator[Any], use: Callable[[Any], None]) -> None:
    def run() -> None:
        while True:
            try:
                message = next(messages)
            # gRPC raises a bare one where a process was killed. `Job` sees its end by itself.
            except Exception:
                return
            use(message)

    threading.Thread(target=run, daemon=True).start()


def main() -> int:
    """Parses the command line and serves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--state", type=Path, required=True)
    parsed = parser.parse_args()
    # TensorFlow Recommenders needs it, which workers import with the project; `dmf` sets it likewise.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # So that `serve` ends what it began.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Pool(parsed.port, parsed.workers, parsed.state).serve()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
