"""`dmf bench retrieval`: what it costs to find candidates in a whole catalogue, and to rank them, over a real wire.

A ranker with a two-tower stage per size of the catalogue, exported by the pipeline's own code, each in a local server
in a process of its own. One client asks them in turn, the same processes run the same signatures without gRPC in
between, and what a search consists of is timed in the same rounds.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.table import Table

from serving import contract
from serving.client import CallRecord, ClientOptions, RankingClient
from serving.export.retrieval import CatalogueIndex
from serving.export.servable import request_arrays, retrieval_arrays
from tfx_pipeline.console import console
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.studies.bench import serving_models
from tfx_pipeline.studies.bench.index_cost import IndexCost, MeasuredIndex, index_sentence, measured_index
from tfx_pipeline.studies.bench.machine import Machine, machine
from tfx_pipeline.studies.bench.retrieval_models import RANKER, RandomCatalogue, export_random_stages
from tfx_pipeline.studies.bench.served_model import ServedModel
from tfx_pipeline.studies.bench.serving import GRPC, IN_PROCESS
from tfx_pipeline.studies.bench.timing import in_turn, interleaved_calls, p50_ms, p99_ms, per_second, timed_call
from tfx_pipeline.trained.server_process import ServerProcess

SIGNATURES = (contract.RETRIEVE, contract.RECOMMEND, contract.RANK)
# Of a search, each alone in the measuring process: all of it, two parts, and what reads every vector once.
SEARCH, PRODUCTS, TOP_K, READING = "search", "products", "top_k", "NumPy's products"
# And of the index beside the model, in the measuring process; by gRPC with a call for the user's vector.
INDEX, BY_INDEX = "approximate search", "retrieve by index"
# Items that `recommend` shows.
PAGE = 10
# Different requests of one size, asked in turn.
_REQUESTS = 4
# Scores of one request must differ at least so much, or their order would say nothing.
_SPREAD = 1e-3
_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class RetrievalResult:
    """One signature over one catalogue, asked in one way.

    Attributes:
        items: of the catalogue.
        signature: its name.
        transport: `grpc` or `in-process`.
        p50_ms, p99_ms: milliseconds of a call.
        qps: calls per second, one at a time.
        calls: that were timed.
        request_bytes, answer_bytes: None in process, where none are sent.
    """

    items: int
    signature: str
    transport: str
    p50_ms: float
    p99_ms: float
    qps: float
    calls: int
    request_bytes: int | None
    answer_bytes: int | None


@dataclass(frozen=True)
class CatalogueCost:
    """What a catalogue of one size takes besides time per call.

    Attributes:
        items: of the catalogue.
        vector_bytes: of the index alone, which a search reads once.
        disk_bytes: of the exported version, both stages.
        load_seconds: from files that were just written to a model that can be asked.
        server_bytes, peak_bytes: resident memory of a server that has nothing but this version, after calls of every
            signature, and the most that it had, as when it loads; None where the system does not tell.
        search_ms: medians of a search and of its parts.
        index: of the approximate index beside it; None where none was asked for.
    """

    items: int
    vector_bytes: int
    disk_bytes: int
    load_seconds: float
    server_bytes: int | None
    peak_bytes: int | None
    search_ms: Mapping[str, float]
    index: IndexCost | None = None


@dataclass(frozen=True)
class RetrievalReport(JsonRecord):
    """What `dmf bench retrieval` measured, as `--json` prints it.

    Attributes:
        results: one per size of the catalogue, signature and transport.
        catalogues: one per size.
        largest_difference: between scores that must be equal; of dot products beyond 1 relative to them.
        setup: hyper-parameters and sizes of the models and requests.
        machine: that was measured on.
    """

    results: Sequence[RetrievalResult]
    catalogues: Sequence[CatalogueCost]
    largest_difference: float
    setup: Mapping[str, Any]
    machine: Machine


def bench_retrieval(
    items: Sequence[int], *, k: int, history: int, seconds: float, approximate: bool = False
) -> RetrievalReport:
    """Times retrieval, ranking, and both in one call.

    Args:
        items: sizes of the catalogue, each once; all are served at the same time.
        k: how many items are retrieved and ranked; with the history, at most the smallest catalogue.
        history: L of every request, which is excluded from its answer.
        seconds: how long to measure in all.
        approximate: whether an approximate index is made of each catalogue, and measured beside the exact search.

    Raises:
        ModelError: a server does not start, or answers that must be equal are not.
    """
    with measured_catalogues(items, k, history, approximate) as catalogues:
        with console().status("comparing answers"):
            largest = max(each.compare() for each in catalogues)
        functions = {case: function for each in catalogues for case, function in each.functions().items()}
        names = {" ".join(map(str, case)): case for case in functions}
        calls = interleaved_calls(
            {name: functions[case] for name, case in names.items()}, seconds=seconds, title=f"k = {k}, L = {history}"
        )
        times = {names[name]: taken for name, taken in calls.items()}
        results = [
            each.result(signature, transport, times[each.items, signature, transport])
            for each in catalogues
            for signature in SIGNATURES
            for transport in (GRPC, IN_PROCESS)
        ]
        results += [
            each.result(BY_INDEX, GRPC, times[each.items, BY_INDEX, GRPC]) for each in catalogues if approximate
        ]
        costs = [each.cost(times) for each in catalogues]
    setup = {**serving_models.PARAMS, "width": catalogues[0].width, "k": k, "history": history, "page": min(k, PAGE)}
    return RetrievalReport(results, costs, largest, setup, machine())


# Items of the catalogue, signature or part of a search, transport or "" of a part.
Case = tuple[int, str, str]


class MeasuredCatalogue:
    """Both stages over one catalogue, asked in both ways.

    Args:
        catalogue: what was exported.
        version: the exported model.
        served: the process that has it.
        memory: of a server with nothing else, see `CatalogueCost`.
        k: how many items are retrieved and ranked.
        index: beside the model; None: there is none.

    Attributes:
        items: of the catalogue.
        width: D of its vectors.
        client: of the model's server.
    """

    def __init__(
        self,
        catalogue: RandomCatalogue,
        version: Path,
        served: ServedModel,
        memory: tuple[int | None, int | None],
        k: int,
        index: MeasuredIndex | None = None,
    ):
        self.items, self.width = catalogue.vectors.shape
        self.client = RankingClient(
            served.target, served.name, ClientOptions(deadline=_DEADLINE_SECONDS, on_call=self._record)
        )
        self._catalogue = catalogue
        self._served = served
        self._contract = contract.ModelContract.read(version)
        self._disk = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
        self._memory = memory
        self._index = index
        self._k, self._page = k, min(k, PAGE)
        self._users = [request.user for request in catalogue.requests]
        self._candidates: list[tuple[str, ...]] = []
        self._wire: dict[str, tuple[int, int]] = {}

    def compare(self) -> float:
        """The largest difference of `retrieve` from NumPy's sort, and of `recommend` from `rank` of what is retrieved.

        Raises:
            ModelError: it is above the tolerance of the contract, another item is there, or all items score alike.
        """
        self._candidates = []
        largest = 0.0
        for number, user in enumerate(self._users):
            expected, products = self._catalogue.largest(number, self._k)
            found = self.client.retrieve(user, self._k, exclude_history=True)
            rows = [int(item[1:]) for item in found.items]
            inside = self._served.run(contract.RETRIEVE, self._arrays(user, self._k))
            self._candidates.append(found.items)
            ranked = self.client.rank(user, found.items)
            # By rank, and of equal scores the item that was retrieved first.
            page = self.client.recommend(user, self._page, exclude_history=True)
            places = page.retrieval_ranks - 1
            by_rank = ranked.scores_in_request_order
            pairs = {
                "retrieve by gRPC and NumPy's largest products": (found.scores, expected),
                "retrieve by gRPC and the products of its items": (found.scores, products[rows]),
                "retrieve in process and by gRPC": (inside[contract.SCORE][0], found.scores),
                "recommend and the best of rank": (page.scores, ranked.scores[: self._page]),
                "recommend and rank of its items": (page.scores, by_rank[places]),
                "recommend in process and by gRPC": (
                    self._served.run(contract.RECOMMEND, self._arrays(user, self._page))[contract.SCORE][0],
                    page.scores,
                ),
                "recommend's retrieval and retrieve": (page.retrieval_scores, found.scores[places]),
            }
            for what, (ones, others) in pairs.items():
                difference = float((np.abs(ones - others) / np.maximum(1.0, np.abs(others))).max())
                if not difference <= self._contract.tolerance:
                    raise ModelError(
                        f"{self.items} items: scores of {what} differ by {difference:.3g}, expected at most "
                        f"{self._contract.tolerance:g}. Times of wrong answers are not told; run the tests of serving"
                    )
                largest = max(largest, difference)
            if [found.items[place] for place in places] != list(page.items):
                raise ModelError(f"{self.items} items: recommend shows items at other places than retrieve has them")
            if not min(np.ptp(found.scores), np.ptp(by_rank)) > _SPREAD:
                raise ModelError(f"{self.items} items: all of them score alike; there is nothing to compare")
        return largest

    def functions(self) -> dict[Case, Callable[[], float]]:
        """What is timed, after `compare`; every function asks the requests in turn and returns seconds."""
        ask = {
            contract.RETRIEVE: lambda user, _: self.client.retrieve(user, self._k, exclude_history=True),
            contract.RECOMMEND: lambda user, _: self.client.recommend(user, self._page, exclude_history=True),
            contract.RANK: lambda user, candidates: self.client.rank(user, candidates),
        }
        asked = list(zip(self._users, self._candidates, strict=True))
        self._served.keep(contract.RETRIEVE, [self._arrays(user, self._k) for user in self._users])
        self._served.keep(contract.RECOMMEND, [self._arrays(user, self._page) for user in self._users])
        self._served.keep(
            contract.RANK,
            [
                request_arrays({**user, contract.CANDIDATE_ITEM_ID: candidates}, self._contract)
                for user, candidates in asked
            ],
        )
        functions: dict[Case, Callable[[], float]] = {}
        for signature in SIGNATURES:
            functions[self.items, signature, GRPC] = in_turn(asked, ask[signature])
            functions[self.items, signature, IN_PROCESS] = functools.partial(self._served.time, signature)
        if self._index is not None:
            index = self._index.index
            functions[self.items, BY_INDEX, GRPC] = in_turn(
                asked, lambda user, _: self.client.retrieve(user, self._k, exclude_history=True, index=index)
            )
        return functions | {(self.items, part, ""): timed_call(call) for part, call in self._search().items()}

    def result(self, signature: str, transport: str, seconds: Sequence[float]) -> RetrievalResult:
        """The figures of one case."""
        asked = contract.USER_VECTOR if signature == BY_INDEX else signature
        request_bytes, answer_bytes = self._wire[asked] if transport == GRPC else (None, None)
        return RetrievalResult(
            items=self.items,
            signature=signature,
            transport=transport,
            p50_ms=p50_ms(seconds),
            p99_ms=p99_ms(seconds),
            qps=per_second(seconds),
            calls=len(seconds),
            request_bytes=request_bytes,
            answer_bytes=answer_bytes,
        )

    def cost(self, times: Mapping[Case, Sequence[float]]) -> CatalogueCost:
        """What the catalogue takes, and how long its searches took."""
        return CatalogueCost(
            self.items,
            self._catalogue.vectors.nbytes,
            self._disk,
            round(self._served.load_seconds, 2),
            *self._memory,
            {part: p50_ms(times[self.items, part, ""]) for part in (SEARCH, PRODUCTS, TOP_K, READING)},
            self._index_cost(times),
        )

    def _index_cost(self, times: Mapping[Case, Sequence[float]]) -> IndexCost | None:
        if self._index is None:
            return None
        by_index, exact, record = times[self.items, INDEX, ""], times[self.items, SEARCH, ""], self._index.record
        return IndexCost(
            record.build_seconds,
            self._index.load_seconds,
            self._index.file_bytes,
            self._index.resident_bytes,
            record.recall,
            record.users,
            p50_ms(by_index),
            p99_ms(by_index),
            p50_ms(exact),
            p99_ms(exact),
            record.connectivity,
            record.expansion_add,
            record.expansion_search,
        )

    def _search(self) -> dict[str, Callable[[], object]]:
        """A search in this process and its parts, without lookups of ids."""
        index = CatalogueIndex(self._catalogue.item_ids, self._catalogue.vectors)
        users = tf.constant(self._catalogue.users[:1])
        rows = [int(item[1:]) + 1 for item in self._users[0][contract.HISTORY_ITEM_ID]]
        excluded, k = tf.constant([rows], tf.int32), tf.constant(self._k)
        products = index.products(users)
        vectors, user = self._catalogue.vectors, self._catalogue.users[0]
        parts = {
            SEARCH: tf.function(lambda: index.search(users, excluded, k)[1], autograph=False),
            PRODUCTS: tf.function(lambda: index.products(users), autograph=False),
            TOP_K: tf.function(lambda: tf.math.top_k(products, k)[0], autograph=False),
        }
        waited = {
            part: functools.partial(lambda function: function().numpy(), part_of) for part, part_of in parts.items()
        }
        parts_of: dict[str, Callable[[], object]] = {**waited, READING: lambda: vectors @ user}
        if self._index is None:
            return parts_of
        beside, history = self._index.index, self._users[0][contract.HISTORY_ITEM_ID]
        return {**parts_of, INDEX: lambda: beside.search(user[None], self._k, [history])}

    def _arrays(self, user: Mapping[str, Any], k: int) -> dict[str, np.ndarray]:
        return retrieval_arrays(user, k, user[contract.HISTORY_ITEM_ID], self._contract)

    def _record(self, record: CallRecord) -> None:
        self._wire[record.signature] = (record.request_bytes, record.response_bytes)


@contextlib.contextmanager
def measured_catalogues(
    items: Sequence[int], k: int, history: int, approximate: bool = False
) -> Iterator[list[MeasuredCatalogue]]:
    """Catalogues of such sizes, exported and served; gone after the block. See `bench_retrieval`."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dmf-bench-")))
        found = []
        with console().status("exporting models and starting their servers") as status:
            for size in items:
                status.update(f"{size:,} items: exporting")
                version = folder / f"{RANKER.served_name}_{size}" / "1"
                version.parent.mkdir()
                catalogue = export_random_stages(version, items=size, candidates=k, history=history, requests=_REQUESTS)
                index = None
                if approximate:
                    status.update(f"{size:,} items: making the approximate index")
                    ids, users = list(catalogue.item_ids), catalogue.more_users
                    index = measured_index(version, ids, catalogue.vectors, users, k=k)
                status.update(f"{size:,} items: memory of a server")
                memory = _server_memory(version, catalogue, k)
                status.update(f"{size:,} items: starting the server")
                served = stack.enter_context(ServedModel(version, version.parent.name))
                found.append(MeasuredCatalogue(catalogue, version, served, memory, k, index))
                stack.enter_context(found[-1].client)
        yield found


def _server_memory(version: Path, catalogue: RandomCatalogue, k: int) -> tuple[int | None, int | None]:
    """Resident bytes of a server with nothing else after some calls, and the most it had."""
    name = version.parent.name
    options = ClientOptions(deadline=_DEADLINE_SECONDS)
    with ServerProcess(version.parent, name) as server, RankingClient(server.target, name, options) as client:
        for request in catalogue.requests:
            found = client.retrieve(request.user, k, exclude_history=True)
            client.recommend(request.user, min(k, PAGE), exclude_history=True)
            client.rank(request.user, found.items)
        try:
            status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return None, None
    facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    now, most = (int(facts[name].split()[0]) * 1024 if name in facts else None for name in ("VmRSS", "VmHWM"))
    return now, most


def retrieval_table(report: RetrievalReport) -> Table:
    """What `bench_retrieval` returns, for a reader."""
    k, history, page = (report.setup[name] for name in ("k", "history", "page"))
    table = Table(
        title=f"k = {k}, page of {page}, L = {history}, one request at a time: median milliseconds (p99)",
        title_justify="left",
    )
    table.add_column("items", justify="right")
    table.add_column("signature")
    for header in ("gRPC", "in process", "requests/s", "bytes sent", "bytes back"):
        table.add_column(header, justify="right")
    local = {(one.items, one.signature): one for one in report.results if one.transport == IN_PROCESS}
    for entry in report.results:
        if entry.transport != GRPC:
            continue
        table.add_row(
            f"{entry.items:,}",
            entry.signature,
            _milliseconds(entry),
            _milliseconds(local.get((entry.items, entry.signature))),
            f"{entry.qps:.1f}",
            f"{entry.request_bytes:,}",
            f"{entry.answer_bytes:,}",
        )
    return table


def _milliseconds(one: RetrievalResult | None) -> str:
    return "" if one is None else f"{one.p50_ms:.2f} ({one.p99_ms:.2f})"


def retrieval_summary(report: RetrievalReport) -> list[str]:
    """Sentences about each catalogue: what it takes, what a search consists of, what an index beside it is."""
    sentences = []
    for one in report.catalogues:
        memory = ""
        if one.server_bytes is not None and one.peak_bytes is not None:
            memory = f", server {one.server_bytes / 1e6:,.0f} MB (peak {one.peak_bytes / 1e6:,.0f})"
        parts = ", ".join(f"{part} {one.search_ms[part]:.2f}" for part in (PRODUCTS, TOP_K))
        sentences.append(
            f"{one.items:,} items: vectors {one.vector_bytes / 1e6:,.1f} MB, on disk {one.disk_bytes / 1e6:,.1f} MB, "
            f"loaded in {one.load_seconds:.1f} s{memory}. A search takes {one.search_ms[SEARCH]:.2f} ms ({parts}); "
            f"reading every vector once, by {READING}, {one.search_ms[READING]:.2f} ms."
        )
        if one.index is not None:
            sentences.append(index_sentence(one.items, report.setup["k"], one.index))
    return sentences
