"""`dmf bench serving` without a server or a model of the caller's: DMF against its neighbours, over a real wire.

Models of one schema and one head, exported by the pipeline's own code, each in a local server in a process of its own.
One client asks them in turn, and between its calls the same processes run the same signatures without gRPC: what
gRPC adds is the difference. Raw ids go in, so the lookups of strings are part of every time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from serving import contract
from serving.client import CallRecord, ClientOptions, Ranking, RankingClient, UserState
from serving.export.servable import request_arrays
from serving.load import RankRequest
from tfx_pipeline.console import console
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.studies.bench import serving_models, workload
from tfx_pipeline.studies.bench.latency_picture import draw_latencies
from tfx_pipeline.studies.bench.machine import Machine, machine
from tfx_pipeline.studies.bench.served_model import ServedModel
from tfx_pipeline.studies.bench.timing import in_turn, interleaved_calls, p50_ms, p99_ms, per_second
from tfx_pipeline.studies.bench.variant import Variant

SIGNATURES = (contract.RANK, contract.USER_TOWER, contract.CANDIDATE)
GRPC, IN_PROCESS = "grpc", "in-process"
# Scores of one request must differ at least so much, or their equality would say nothing.
_SPREAD = 1e-3
# Different requests of one size, asked in turn.
_REQUESTS = 4
_DEADLINE_SECONDS = 60.0

# Model, signature, transport.
Case = tuple[str, str, str]


@dataclass(frozen=True)
class SignatureResult:
    """One signature of one model, asked in one way.

    Attributes:
        model, signature: their names, see `Variant.label`.
        history, candidates: L and N; no candidates of `user_tower`, which takes none.
        transport: `grpc` or `in-process`.
        p50_ms, p99_ms: milliseconds of a call.
        qps: calls per second, one at a time.
        calls: that were timed.
        request_bytes, answer_bytes: None in process, where none are sent.
    """

    model: str
    signature: str
    history: int
    candidates: int | None
    transport: str
    p50_ms: float
    p99_ms: float
    qps: float
    calls: int
    request_bytes: int | None
    answer_bytes: int | None


@dataclass(frozen=True)
class GrpcCost:
    """What gRPC adds to the median: milliseconds, and their share of the time in process."""

    ms: float
    share: float


@dataclass(frozen=True)
class Ratios:
    """What the medians over gRPC come to with one length of the history.

    Attributes:
        rank_vs_first: how many times as long as by the first model `rank` takes, by model.
        score_vs_rank: time of `candidate`, with a kept state, over that of `rank`, by model.
        grpc_adds: to the time in process, by model and signature.
    """

    rank_vs_first: Mapping[str, float]
    score_vs_rank: Mapping[str, float]
    grpc_adds: Mapping[str, Mapping[str, GrpcCost]]


@dataclass(frozen=True)
class ServingReport(JsonRecord):
    """What `dmf bench serving` measured of several models, as `--json` prints it.

    Attributes:
        results: one per model, signature, length and transport.
        ratios: by length, as text.
        state_bytes: of a user's state, by length and model.
        largest_difference: between scores that must be equal.
        rounding: of each model in bfloat16 that is there in float32 too, how far their scores lie apart at most.
        setup: hyper-parameters and sizes of the models.
        machine: that was measured on.
    """

    results: Sequence[SignatureResult]
    ratios: Mapping[str, Ratios]
    state_bytes: Mapping[str, Mapping[str, int]]
    largest_difference: float
    rounding: Mapping[str, float]
    setup: Mapping[str, Any]
    machine: Machine


def bench_serving(
    variants: Sequence[Variant],
    histories: Sequence[int],
    *,
    candidates: int,
    seconds: float,
    picture: Path | None = None,
) -> ServingReport:
    """Times every signature of models, through gRPC and without.

    Args:
        variants: the models, each once; the others are compared with the first.
        histories: lengths L of the history, one measurement each.
        candidates: N.
        seconds: how long each length is measured.
        picture: also draw the latencies of `rank` over gRPC there, PNG.

    Raises:
        ModelError: a server does not start, or answers that must be equal are not.
    """
    results: list[SignatureResult] = []
    ratios: dict[str, Ratios] = {}
    state_bytes: dict[str, dict[str, int]] = {}
    series: dict[str, list[float]] = {}
    largest = 0.0
    rounding: dict[str, float] = {}
    with _measured_models(variants) as models:
        for history in histories:
            functions: dict[Case, Callable[[], float]] = {}
            with console().status(f"L = {history}: comparing answers"):
                for model, variant in zip(models, variants, strict=True):
                    requests = serving_models.random_requests(
                        variant, candidates=candidates, history=history, count=_REQUESTS
                    )
                    largest = max(largest, model.compare(requests))
                    functions |= model.functions(requests)
                for label, difference in _rounding(dict(zip(variants, models, strict=True))).items():
                    rounding[label] = max(difference, rounding.get(label, 0.0))
            names = {" ".join(case): case for case in functions}
            title = f"L = {history}, N = {candidates}"
            calls = interleaved_calls(
                {name: functions[case] for name, case in names.items()}, seconds=seconds, title=title
            )
            times = {case: calls[name] for name, case in names.items()}
            wire = {model.name: model.wire for model in models}
            results += [_entry(case, taken, history, candidates, wire) for case, taken in times.items()]
            ratios[str(history)] = _ratios(times)
            state_bytes[str(history)] = {model.name: model.state_bytes for model in models}
            series |= {f"{name}, L = {history}": times[name, contract.RANK, GRPC] for name in wire}
    if picture is not None:
        arrays = {label: np.array(taken) for label, taken in series.items()}
        draw_latencies(arrays, picture, f"rank over gRPC, {candidates} candidates, one request at a time")
    setup = {**serving_models.PARAMS, "items": serving_models.ITEMS, "content_width": workload.CONTENT_WIDTH}
    return ServingReport(results, ratios, state_bytes, largest, rounding, setup, machine())


class MeasuredModel:
    """One model of the registry, asked in both ways.

    Args:
        name: of the variant.
        served: the process that has it.
        model_contract: of the exported model.

    Attributes:
        name: of the variant.
        client: of its server.
        wire: bytes of the last request and answer by signature.
        state_bytes: of the last user state, as it would be stored.
        scores: of the requests that were compared last, float32 [N] each.
    """

    def __init__(self, name: str, served: ServedModel, model_contract: contract.ModelContract):
        self.name = name
        self.wire: dict[str, tuple[int, int]] = {}
        self.state_bytes = 0
        self.scores: list[np.ndarray] = []
        self._served = served
        self._contract = model_contract
        options = ClientOptions(deadline=_DEADLINE_SECONDS, on_call=self._record)
        self.client = RankingClient(served.target, served.name, options)

    def compare(self, requests: Sequence[RankRequest]) -> float:
        """The largest difference between scores by gRPC, in process, and by the user's state; fills `state_bytes`
        and `scores`.

        Raises:
            ModelError: it is above the tolerance of the contract, or all candidates score alike.
        """
        largest = 0.0
        self.scores = []
        for request in requests:
            arrays, candidates = self._arrays(request)
            state = self.client.encode_user(request.user)
            self.state_bytes = len(state.to_bytes())
            own_state = self._served.run(contract.USER_TOWER, arrays)
            scores = {
                "rank by gRPC": self._rank(request).scores_in_request_order,
                "candidate by gRPC": self._score(state, request).scores_in_request_order,
                "rank in process": self._served.run(contract.RANK, {**arrays, **candidates})[contract.SCORE][0],
                "candidate in process": self._candidate(own_state, candidates)[0],
            }
            first = scores["rank by gRPC"]
            self.scores.append(first)
            if not np.ptp(first) > _SPREAD:
                raise ModelError(f"{self.name}: all candidates score alike ({first[:3]}); there is nothing to compare")
            for way, others in scores.items():
                difference = float(np.abs(others - first).max())
                allowed = self._contract.tolerance
                if not difference <= allowed:
                    raise ModelError(
                        f"{self.name}: scores of {way} differ by {difference:.3g} from those of rank by gRPC, expected "
                        f"at most {allowed:g}. Times of different results are not compared; run the tests of serving"
                    )
                largest = max(largest, difference)
        return largest

    def functions(self, requests: Sequence[RankRequest]) -> dict[Case, Callable[[], float]]:
        """What is timed; every function asks the requests in turn and returns seconds."""
        states: list[UserState] = [self.client.encode_user(request.user) for request in requests]
        asked = [(request,) for request in requests]
        scored = list(zip(states, requests, strict=True))
        over_grpc = {
            contract.RANK: in_turn(asked, self._rank),
            contract.USER_TOWER: in_turn(asked, lambda one: self.client.encode_user(one.user)),
            contract.CANDIDATE: in_turn(scored, self._score),
        }
        arrays = [self._arrays(request) for request in requests]
        self._served.keep(contract.RANK, [{**user, **candidates} for user, candidates in arrays])
        self._served.keep(contract.USER_TOWER, [user for user, _ in arrays])
        self._served.keep(
            contract.CANDIDATE,
            [
                {**self._state_inputs(self._served.run(contract.USER_TOWER, user)), **candidates}
                for user, candidates in arrays
            ],
        )
        functions: dict[Case, Callable[[], float]] = {}
        for signature in SIGNATURES:
            functions[self.name, signature, GRPC] = over_grpc[signature]
            functions[self.name, signature, IN_PROCESS] = functools.partial(self._served.time, signature)
        return functions

    def _rank(self, request: RankRequest) -> Ranking:
        return self.client.rank(request.user, request.candidates, columns=request.columns)

    def _score(self, state: UserState, request: RankRequest) -> Ranking:
        return self.client.score(state, request.candidates, columns=request.columns)

    def _arrays(self, request: RankRequest) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Inputs of the user, and those of the candidates."""
        of_candidates = {contract.CANDIDATE_ITEM_ID: request.candidates, **request.columns}
        arrays = request_arrays({**request.user, **of_candidates}, self._contract)
        candidates = {name: arrays.pop(name) for name in of_candidates}
        return arrays, candidates

    def _state_inputs(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        inputs = self._contract.signatures[contract.CANDIDATE]["inputs"]
        return {name: value for name, value in state.items() if name in inputs}

    def _candidate(self, state: Mapping[str, np.ndarray], candidates: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._served.run(contract.CANDIDATE, {**self._state_inputs(state), **candidates})[contract.SCORE]

    def _record(self, record: CallRecord) -> None:
        self.wire[record.signature] = (record.request_bytes, record.response_bytes)


def _rounding(models: Mapping[Variant, MeasuredModel]) -> dict[str, float]:
    """How far the scores of models in a lower precision lie from those of the same in float32, by label.

    Raises:
        ModelError: a score is further away than it may be.
    """
    found = {}
    for variant, model in models.items():
        exact = models.get(dataclasses.replace(variant, precision=contract.FLOAT32))
        if exact is None or exact is model:
            continue
        pairs = zip(model.scores, exact.scores, strict=True)
        found[variant.label] = difference = max(float(np.abs(one - other).max()) for one, other in pairs)
        if not difference <= contract.SCORE_TOLERANCE[variant.precision]:
            raise ModelError(
                f"{variant.label}: scores differ by {difference:.3g} from those in float32, expected at most "
                f"{contract.SCORE_TOLERANCE[variant.precision]:g}: this model cannot be served in {variant.precision}"
            )
    return found


@contextlib.contextmanager
def _measured_models(variants: Sequence[Variant]) -> Iterator[list[MeasuredModel]]:
    """The models, exported and served; gone after the block."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dmf-bench-")))
        versions = {variant: folder / variant.served_name / "1" for variant in variants}
        served = []
        models = []
        with console().status("exporting models and starting their servers") as status:
            for variant, version in versions.items():
                status.update(f"exporting {variant.label}")
                version.parent.mkdir()
                serving_models.export_random_model(variant, version)
                served.append(ServedModel(version, variant.served_name))
                stack.callback(served[-1].close)
            status.update("starting servers")
            for (variant, version), one in zip(versions.items(), served, strict=True):
                stack.enter_context(one)
                models.append(MeasuredModel(variant.label, one, contract.ModelContract.read(version)))
                stack.enter_context(models[-1].client)
        yield models


def _entry(
    case: Case,
    seconds: Sequence[float],
    history: int,
    candidates: int,
    wire: Mapping[str, Mapping[str, tuple[int, int]]],
) -> SignatureResult:
    name, signature, transport = case
    request_bytes, answer_bytes = wire[name][signature] if transport == GRPC else (None, None)
    return SignatureResult(
        model=name,
        signature=signature,
        history=history,
        candidates=candidates if signature != contract.USER_TOWER else None,
        transport=transport,
        p50_ms=p50_ms(seconds),
        p99_ms=p99_ms(seconds),
        qps=per_second(seconds),
        calls=len(seconds),
        request_bytes=request_bytes,
        answer_bytes=answer_bytes,
    )


def _ratios(times: Mapping[Case, Sequence[float]]) -> Ratios:
    p50 = {case: p50_ms(seconds) for case, seconds in times.items()}
    names = list(dict.fromkeys(name for name, *_ in times))
    rank = {name: p50[name, contract.RANK, GRPC] for name in names}
    return Ratios(
        rank_vs_first={name: rank[name] / rank[names[0]] for name in names[1:]},
        score_vs_rank={name: p50[name, contract.CANDIDATE, GRPC] / rank[name] for name in names},
        grpc_adds={
            name: {
                signature: GrpcCost(
                    ms=round(p50[name, signature, GRPC] - p50[name, signature, IN_PROCESS], 3),
                    share=p50[name, signature, GRPC] / p50[name, signature, IN_PROCESS] - 1,
                )
                for signature in SIGNATURES
            }
            for name in names
        },
    )


def serving_table(report: ServingReport) -> Table:
    """What `bench_serving` returns, for a reader."""
    table = Table(title="one client, one request at a time: median milliseconds (p99)", title_justify="left")
    for header in ("L", "N", "model", "signature"):
        table.add_column(header, justify="right" if len(header) == 1 else "left")
    for header in ("gRPC", "in process", "requests/s", "bytes sent", "bytes back"):
        table.add_column(header, justify="right")
    local = {_key(entry): entry for entry in report.results if entry.transport == IN_PROCESS}
    for entry in report.results:
        if entry.transport != GRPC:
            continue
        table.add_row(
            str(entry.history),
            "" if entry.candidates is None else str(entry.candidates),
            entry.model,
            entry.signature,
            *(f"{one.p50_ms:.2f} ({one.p99_ms:.2f})" for one in (entry, local[_key(entry)])),
            f"{entry.qps:.1f}",
            f"{entry.request_bytes:,}",
            f"{entry.answer_bytes:,}",
        )
    return table


def _key(entry: SignatureResult) -> tuple[str, str, int]:
    return entry.model, entry.signature, entry.history


def serving_summary(report: ServingReport) -> list[str]:
    """One sentence or two per length of history."""
    sentences = []
    for history, ratios in report.ratios.items():
        first = next(iter(ratios.grpc_adds))
        added = ratios.grpc_adds[first][contract.RANK]
        told = [f"by {name} {ratio:.2f}x" for name, ratio in ratios.rank_vs_first.items()]
        compared = f"rank {', '.join(told)} the time of {first}. " if told else ""
        sentences.append(
            f"L = {history}: {compared}gRPC adds {added.ms:.1f} ms to {first} ({added.share:.0%}). With a kept state "
            f"it takes {ratios.score_vs_rank[first]:.2f}x the time of rank; the state has "
            f"{report.state_bytes[history][first] / 1000:.1f} KB."
        )
    sentences += [
        f"{label}: scores at most {most:.2g} from those in float32." for label, most in report.rounding.items()
    ]
    return sentences
