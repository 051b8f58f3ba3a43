"""What an approximate index of a synthetic catalogue costs, and what it finds of an exact search."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.approximate_index import GRAPH_FILE, IDS_FILE, ApproximateIndex, IndexRecord, MissingLibrary
from serving.export.approximate_index import write_index
from tfx_pipeline.config.stages import Approximate
from tfx_pipeline.errors import ConfigError, ModelError
from tfx_pipeline.evaluation.retrieval.tower_retriever import index_options

# In a process of its own: what it holds after searches, beyond what it held before the index.
_RESIDENT = """
import sys
import numpy as np
from serving.approximate_index import ApproximateIndex, usearch_index


def resident():
    lines = open("/proc/self/status", encoding="utf-8").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


users, k = np.load(sys.argv[2]), int(sys.argv[3])
usearch_index()
before = resident()
index = ApproximateIndex.load(sys.argv[1])
for user in users:
    index.search(user[None], k)
print(resident() - before)
"""
_SECONDS = 600


@dataclass(frozen=True)
class IndexCost:
    """An index beside a catalogue, and a search of it in the measuring process.

    Attributes:
        build_seconds: to make it, on all cores.
        load_seconds: to read it, checksums included.
        file_bytes: of graph and ids.
        resident_bytes: that a process holds after searches, beyond what it held before; None where the system does not
            tell. The graph is a file in memory, which processes of one machine share.
        recall: share of the k largest products that a search finds.
        users: vectors of users by which that was measured.
        p50_ms, p99_ms: milliseconds of a search, with the history excluded.
        exact_p50_ms, exact_p99_ms: of an exact search in the same rounds.
        connectivity, expansion_add, expansion_search: of the graph.
    """

    build_seconds: float
    load_seconds: float
    file_bytes: int
    resident_bytes: int | None
    recall: float
    users: int
    p50_ms: float
    p99_ms: float
    exact_p50_ms: float
    exact_p99_ms: float
    connectivity: int
    expansion_add: int
    expansion_search: int


@dataclass(frozen=True, eq=False)
class MeasuredIndex:
    """An index that was written beside an exported model.

    Attributes:
        index: as it was read back.
        load_seconds: that this took.
        file_bytes, resident_bytes: as of `IndexCost`.
    """

    index: ApproximateIndex
    load_seconds: float
    file_bytes: int
    resident_bytes: int | None

    @property
    def record(self) -> IndexRecord:
        """What was measured when it was made."""
        return self.index.record


def measured_index(
    version: Path, item_ids: list[str], vectors: np.ndarray, users: np.ndarray, *, k: int
) -> MeasuredIndex:
    """Makes the index of a catalogue beside its model, with the defaults of `stages.retrieval.approximate`.

    Args:
        version: folder of the model.
        item_ids: I of them.
        vectors: float32 [I, D].
        users: float32 [U, D], by which recall is measured.
        k: of the recall and of the searches.

    Raises:
        ConfigError: usearch is not installed.
        ModelError: the index cannot be searched in a process of its own.
    """
    options = index_options(Approximate())
    try:
        write_index(version, item_ids, vectors, users, options=options, at=k, ranked_candidates=k)
    except MissingLibrary as error:
        raise ConfigError(f"--approximate: {error}") from None
    started = time.perf_counter()
    index = ApproximateIndex.load(version)
    seconds = time.perf_counter() - started
    size = sum((version / file).stat().st_size for file in (GRAPH_FILE, IDS_FILE))
    return MeasuredIndex(index, round(seconds, 2), size, _resident(version, users, k))


def _resident(version: Path, users: np.ndarray, k: int) -> int | None:
    if not Path("/proc/self/status").exists():
        return None
    asked = version.parent / "users.npy"
    np.save(asked, users)
    command = [sys.executable, "-c", _RESIDENT, str(version), str(asked), str(k)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if result.returncode:
        raise ModelError(f"the index of {version} cannot be searched: {result.stderr.strip().splitlines()[-1:]}")
    return int(result.stdout)


def index_sentence(items: int, k: int, cost: IndexCost) -> str:
    """What the index is beside the exact search, for a reader."""
    resident = "" if cost.resident_bytes is None else f", {cost.resident_bytes / 1e6:,.0f} MB in memory after searches"
    return (
        f"{items:,} items, approximate index (connectivity {cost.connectivity}, expansion {cost.expansion_add} and "
        f"{cost.expansion_search}): a search takes {cost.p50_ms:.2f} ms (p99 {cost.p99_ms:.2f}), an exact one "
        f"{cost.exact_p50_ms:.2f} ({cost.exact_p99_ms:.2f}); recall@{k} {cost.recall:.4f} over {cost.users:,} users; "
        f"made in {cost.build_seconds:,.0f} s, {cost.file_bytes / 1e6:,.0f} MB on disk{resident}, read in "
        f"{cost.load_seconds:.1f} s."
    )
