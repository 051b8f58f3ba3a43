"""One job's Python workers behind `tools/beam_workers.py`: which process has which bundle, and who gets a lost one."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2 as fn
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services
from apache_beam.portability.api import beam_runner_api_pb2 as model

# How often a bundle is tried, as often as Spark and Flink's usual setting do.
ATTEMPTS = 4
# Processes that end before they have asked for work: what is installed is wrong, and the next would end too.
_FAILED_STARTS = 3
_SPLIT_AGAIN_S = 0.05
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_SINK, _PORTS = "beam:runner:sink:v1", ("beam:runner:sink:v1", "beam:runner:source:v1")
_WORKER = """
import sys
from apache_beam.runners.worker.sdk_worker import SdkHarness
SdkHarness(sys.argv[1], worker_id=sys.argv[2]).run()
"""


@dataclasses.dataclass
class Bundle:
    """Work that a process has, or had when it died.

    Attributes:
        request: what the runner asked; None: its elements came before it.
        inputs: elements of the runner.
        outputs: elements of the process, kept until it has answered.
        answer: of the process.
        process: that has it.
        attempts: processes that died with it.
        split: by which the runner took elements back.
        kept: how many elements it left; None: all.
        splitting: whether the split is to be made again before elements may go to the process.
    """

    request: fn.InstructionRequest | None = None
    inputs: list[fn.Elements] = dataclasses.field(default_factory=list)
    outputs: list[fn.Elements] = dataclasses.field(default_factory=list)
    answer: fn.InstructionResponse | None = None
    process: Process | None = None
    attempts: int = 0
    split: fn.ProcessBundleSplitRequest | None = None
    kept: int | None = None
    splitting: bool = False

    @property
    def ended(self) -> int:
        """How many of the outputs are complete."""
        return sum(each.is_last for elements in self.outputs for each in (*elements.data, *elements.timers))


class Process:
    """One Python worker. What is put into its queues goes to it as soon as it has connected."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.connected = False
        self.queues: dict[str, queue.Queue[Any]] = {each: queue.Queue() for each in ("control", "data", "state")}
        self._popen = subprocess.Popen([sys.executable, "-c", _WORKER, address, name], stdin=subprocess.DEVNULL)
        self.pid = self._popen.pid

    def wait(self) -> int:
        """Waits for its end, and returns the exit status."""
        return self._popen.wait()

    def kill(self) -> None:
        """Ends it."""
        self._popen.kill()
        for each in self.queues.values():
            each.put(None)


class Job:
    """The workers of one job, which are one worker for the runner."""

    def __init__(self, name: str, runner: str, address: str, workers: int, changed: Callable[[], None]) -> None:
        self.name, self._address, self._changed = name, address, changed
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self._bundles: dict[str, Bundle] = {}
        self._splits: dict[str, tuple[str, fn.ProcessBundleSplitRequest]] = {}
        self._descriptors: dict[str, fn.ProcessBundleDescriptor] = {}
        self._failed_starts = 0
        self._stopped = False
        self._to_runner: dict[str, queue.Queue[Any]] = {each: queue.Queue() for each in ("control", "data", "state")}
        # Control, data and state: some runners have a port for each, which the description of a bundle names.
        self._channels = {"control": grpc.insecure_channel(runner, options=UNLIMITED)}
        control = services.BeamFnControlStub(self._channels["control"])
        self._describe = control.GetProcessBundleDescriptor
        self.processes = {process.name: process for process in (self._start() for _ in range(workers))}
        self._read("control", control.Control, self._asked)

    def stop(self) -> None:
        """Ends its processes and leaves the runner."""
        with self._lock:
            self._stopped = True
            for process in self.processes.values():
                process.kill()
            self.processes, self._bundles = {}, {}
        for each in self._to_runner.values():
            each.put(None)
        self._changed()

    def bundles_of(self, process: Process) -> list[str]:
        """Which bundles it has."""
        with self._lock:
            return [name for name, bundle in self._bundles.items() if bundle.process is process]

    def steps_of(self, process: Process) -> list[str]:
        """The transforms of its bundles, as far as it has asked for them; those of a bundle separated by spaces."""
        with self._lock:
            bundles = [self._bundles[name] for name in self.bundles_of(process)]
            transforms = [self._transforms(bundle) for bundle in bundles]
            return [" ".join(each.unique_name.replace(" ", "_") for each in of_one) for of_one in transforms]

    # What the processes ask and answer.

    def describe(self, name: str) -> fn.ProcessBundleDescriptor:
        """What a bundle is to do, with this program's address for the runner's."""
        with self._lock:
            if name not in self._descriptors:
                asked = fn.GetProcessBundleDescriptorRequest(process_bundle_descriptor_id=name)
                found = self._describe(asked, metadata=[("worker_id", self.name)])
                self._connect("state", found.state_api_service_descriptor.url)
                found.state_api_service_descriptor.url = self._address
                for transform in found.transforms.values():
                    if transform.spec.urn in _PORTS:
                        port = fn.RemoteGrpcPort.FromString(transform.spec.payload)
                        self._connect("data", port.api_service_descriptor.url)
                        port.api_service_descriptor.url = self._address
                        transform.spec.payload = port.SerializeToString()
                self._descriptors[name] = found
                self._changed()
            return self._descriptors[name]

    def answered(self, process: Process, answer: fn.InstructionResponse) -> None:
        """A process has done what it was asked."""
        with self._lock:
            name = answer.instruction_id
            bundle = self._bundles.get(name)
            if bundle is not None and bundle.process is process:
                bundle.answer = answer
                self._finish(name, bundle)
            elif name in self._splits:
                of, request = self._splits.pop(name)
                self._split(of, request, answer, mine=name.startswith("again-"))

    def made(self, process: Process, elements: fn.Elements) -> None:
        """A process has sent output."""
        with self._lock:
            for name, part in _by_bundle(elements):
                bundle = self._bundles.get(name)
                if bundle is not None and bundle.process is process:
                    bundle.outputs.append(part)
                    self._finish(name, bundle)

    def asks_state(self, process: Process, request: fn.StateRequest) -> None:
        """A process wants a side input."""
        if request.WhichOneof("request") != "get":
            refused = fn.StateResponse(id=request.id, error="only reading is safe in a bundle that may run again")
            process.queues["state"].put(refused)
            return
        request.id = f"{process.name}|{request.id}"
        self._to_runner["state"].put(request)

    # What the runner asks and gives.

    def _asked(self, request: fn.InstructionRequest) -> None:
        with self._lock:
            name, kind = request.instruction_id, request.WhichOneof("request")
            if kind == "process_bundle":
                new = self._bundles.setdefault(name, Bundle())
                new.request = request
                self._assign(name, new)
                return
            if kind == "process_bundle_split":
                asked = request.process_bundle_split
                bundle = self._bundles.get(asked.instruction_id)
                if bundle is not None and bundle.process and not bundle.splitting and self._may_split(bundle):
                    self._splits[name] = asked.instruction_id, asked
                    bundle.process.queues["control"].put(request)
                    return
            # Progress is not told: the runner then offers to split what takes long, which is how work is spread.
            answer = fn.InstructionResponse(instruction_id=name)
            if kind == "register":
                answer.error = "this pool asks for the descriptions of bundles"
            elif kind is not None:
                getattr(answer, kind).SetInParent()
            self._to_runner["control"].put(answer)

    def _given(self, elements: fn.Elements) -> None:
        with self._lock:
            for name, part in _by_bundle(elements):
                bundle = self._bundles.setdefault(name, Bundle())
                bundle.inputs.append(part)
                if bundle.process and not bundle.splitting:
                    bundle.process.queues["data"].put(part)

    def _told(self, response: fn.StateResponse) -> None:
        name, _, number = response.id.rpartition("|")
        with self._lock:
            process = self.processes.get(name)
        if process:
            response.id = number
            process.queues["state"].put(response)

    # Bundles.

    def _assign(self, name: str, bundle: Bundle) -> None:
        process = min(self.processes.values(), key=lambda each: (not each.connected, len(self.bundles_of(each))))
        bundle.process = process
        process.queues["control"].put(bundle.request)
        if bundle.kept is None:
            for part in bundle.inputs:
                process.queues["data"].put(part)
        else:
            bundle.splitting = True
            self._split_again(name, bundle, process)
        self._changed()

    def _finish(self, name: str, bundle: Bundle) -> None:
        if bundle.answer is None or bundle.request is None:
            return
        if not bundle.answer.error:
            transforms = self.describe(bundle.request.process_bundle.process_bundle_descriptor_id).transforms
            timers = sum(len(_timers(each)) for each in transforms.values())
            if bundle.ended < sum(each.spec.urn == _SINK for each in transforms.values()) + timers:
                return
            for part in bundle.outputs:
                self._to_runner["data"].put(part)
        self._to_runner["control"].put(bundle.answer)
        del self._bundles[name]
        self._changed()

    def _may_split(self, bundle: Bundle) -> bool:
        # Of a splittable DoFn an element is split too, which could not be done a second time in the same place.
        transforms = self._transforms(bundle)
        return bool(transforms) and not any(":sdf_" in each.spec.urn for each in transforms)

    def _transforms(self, bundle: Bundle) -> list[Any]:
        name = bundle.request.process_bundle.process_bundle_descriptor_id if bundle.request else ""
        return list(self._descriptors[name].transforms.values()) if name in self._descriptors else []

    def _split_again(self, name: str, bundle: Bundle, process: Process) -> None:
        with self._lock:
            if bundle.process is not process or bundle.split is None:
                return
            number = f"again-{next(self._numbers)}"
            self._splits[number] = name, bundle.split
            process.queues["control"].put(
                fn.InstructionRequest(instruction_id=number, process_bundle_split=bundle.split)
            )

    def _split(
        self, name: str, request: fn.ProcessBundleSplitRequest, answer: fn.InstructionResponse, mine: bool
    ) -> None:
        bundle = self._bundles.get(name)
        channels = answer.process_bundle_split.channel_splits
        if not mine:
            if bundle is not None and channels:
                bundle.kept = channels[0].first_residual_element
                bundle.split = fn.ProcessBundleSplitRequest()
                bundle.split.CopyFrom(request)
                bundle.split.instruction_id = name
                for desired in bundle.split.desired_splits.values():
                    desired.allowed_split_points[:] = [bundle.kept]
            self._to_runner["control"].put(answer)
        elif bundle is not None and bundle.process is not None:
            if not channels:
                # The process has not begun with the bundle.
                args = name, bundle, bundle.process
                threading.Timer(_SPLIT_AGAIN_S, self._split_again, args).start()
                return
            assert channels[0].first_residual_element == bundle.kept, "a split was allowed in one place alone"
            bundle.splitting = False
            for part in bundle.inputs:
                bundle.process.queues["data"].put(part)

    # Processes.

    def _start(self) -> Process:
        process = Process(f"{self.name}/{next(self._numbers)}", self._address)
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        return process

    def _watch(self, process: Process) -> None:
        status = process.wait()
        with self._lock:
            if self._stopped:
                return
            say(f"{process.name} (process {process.pid}) ended with {status}; it had {self.bundles_of(process)}")
            self._failed_starts = 0 if process.connected else self._failed_starts + 1
            self.processes.pop(process.name, None)
            process.kill()
            for number in [number for number, (of, _) in self._splits.items() if of in self.bundles_of(process)]:
                self._splits.pop(number)
                if not number.startswith("again-"):
                    nothing = fn.InstructionResponse(instruction_id=number)
                    nothing.process_bundle_split.SetInParent()
                    self._to_runner["control"].put(nothing)
            started = self._start()
            self.processes[started.name] = started
            for name in self.bundles_of(process):
                bundle = self._bundles[name]
                bundle.attempts += 1
                bundle.outputs, bundle.answer, bundle.process, bundle.splitting = [], None, None, False
                if bundle.attempts == ATTEMPTS or self._failed_starts == _FAILED_STARTS:
                    error = f"bundle {name}: {bundle.attempts} workers ended with it, the last with {status}"
                    self._to_runner["control"].put(fn.InstructionResponse(instruction_id=name, error=error))
                    del self._bundles[name]
                else:
                    self._assign(name, bundle)
            self._changed()

    def _connect(self, kind: str, url: str) -> None:
        if kind in self._channels or not url:
            return
        channel = self._channels[kind] = grpc.insecure_channel(url, options=UNLIMITED)
        if kind == "data":
            self._read(kind, services.BeamFnDataStub(channel).Data, self._given)
        else:
            self._read(kind, services.BeamFnStateStub(channel).State, self._told)

    def _read(self, kind: str, method: Callable[..., Iterable[Any]], use: Callable[[Any], None]) -> None:
        def run() -> None:
            # The runner ends the stream when the job is over, or goes, which is an error.
            with self._channels[kind], contextlib.suppress(grpc.RpcError):
                for message in method(iter(self._to_runner[kind].get, None), metadata=[("worker_id", self.name)]):
                    use(message)
            if kind == "control":
                self.stop()

        threading.Thread(target=run, daemon=True).start()


def _by_bundle(elements: fn.Elements) -> Iterator[tuple[str, fn.Elements]]:
    for each in elements.data:
        yield each.instruction_id, fn.Elements(data=[each])
    for each in elements.timers:
        yield each.instruction_id, fn.Elements(timers=[each])


def _timers(transform: Any) -> Any:
    if transform.spec.urn != "beam:transform:pardo:v1":
        return ()
    return model.ParDoPayload.FromString(transform.spec.payload).timer_family_specs


def say(text: str) -> None:
    """Into the log."""
    print(text, file=sys.stderr, flush=True)
