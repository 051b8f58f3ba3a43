"""Makes the approximate index of a catalogue, measures it against an exact search, and writes it beside a model."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import approximate_index
from serving.approximate_index import ApproximateIndex, IndexRecord, catalogue_digest
from serving.export.atomic import written_whole

# Users whose exact products are computed at a time: of a million items 256 MB.
_BLOCK = 64
# Items that one thread adds. Several at a time now and then lose some to every search; up to here it is a matter of
# seconds, and the same vectors give the same graph.
_BY_ONE_THREAD = 20_000


@dataclasses.dataclass(frozen=True)
class IndexOptions:
    """How a graph is made and searched; see `IndexRecord`.

    Attributes:
        connectivity: neighbours of an item in the graph.
        expansion_add: candidates that are kept while an item is added.
        expansion_search: candidates that are kept in a search, at least.
    """

    connectivity: int = 16
    expansion_add: int = 128
    expansion_search: int = 1000


def write_index(
    model_dir: str | Path,
    item_ids: Sequence[str],
    vectors: NDArray[np.float32],
    users: NDArray[np.float32],
    *,
    options: IndexOptions = IndexOptions(),
    at: int = 500,
    ranked_candidates: int = 0,
) -> IndexRecord:
    """Makes the index of a catalogue, writes it into the folder of a model, and measures what was written.

    Args:
        model_dir: of the exported model, or any folder.
        item_ids: of the catalogue, I of them.
        vectors: of its items, float32 [I, D].
        users: vectors float32 [B, D] by which recall is measured.
        options: of the graph.
        at: k of the recall; of a smaller catalogue all of its items.
        ranked_candidates: how many items a page is made of; 0: nothing is ranked.

    Returns:
        What was measured, as it lies beside the graph.

    Raises:
        MissingLibrary: usearch is not installed.
        ValueError: vectors of users and items do not fit each other, or an id has a line break.
    """
    if vectors.ndim != 2 or len(vectors) != len(item_ids) or not len(item_ids):
        raise ValueError(f"there must be a vector for each of {len(item_ids)} items, got {list(vectors.shape)}")
    if users.ndim != 2 or not len(users) or users.shape[1] != vectors.shape[1]:
        raise ValueError(f"vectors of users must be [users, {vectors.shape[1]}], got {list(users.shape)}")
    if broken := [item for item in item_ids if "\n" in item]:
        raise ValueError(f"ids are written one a line, so none may have a line break; got {broken[0]!r}")
    folder = Path(model_dir)
    started = time.perf_counter()
    graph = _graph(vectors, options)
    seconds = time.perf_counter() - started
    with written_whole(folder / approximate_index.GRAPH_FILE) as partial:
        graph.save(str(partial))
    with written_whole(folder / approximate_index.IDS_FILE) as partial:
        partial.write_bytes("".join(f"{item}\n" for item in item_ids).encode())
    record = IndexRecord(
        format=approximate_index.FORMAT,
        library=f"usearch {importlib.metadata.version('usearch')}",
        metric=approximate_index.METRIC,
        items=len(item_ids),
        width=vectors.shape[1],
        catalogue=catalogue_digest(item_ids, vectors),
        **dataclasses.asdict(options),
        ranked_candidates=min(ranked_candidates, len(item_ids)),
        at=min(at, len(item_ids)),
        recall=0.0,
        users=len(users),
        build_seconds=round(seconds, 2),
        graph_sha256=approximate_index.sha256(folder / approximate_index.GRAPH_FILE),
        ids_sha256=approximate_index.sha256(folder / approximate_index.IDS_FILE),
    )
    _write_record(folder, record)
    found = recall(ApproximateIndex.load(folder), vectors, users, record.at)
    record = dataclasses.replace(record, recall=found)
    _write_record(folder, record)
    return record


def recall(index: ApproximateIndex, vectors: NDArray[np.float32], users: NDArray[np.float32], k: int) -> float:
    """Share of the places of the k largest dot products that a search fills with products as large.

    Items that score alike are as good as each other, whichever of them an exact search would have taken.

    Args:
        index: of the items.
        vectors: of the items, float32 [I, D].
        users: vectors float32 [B, D].
        k: from 1 to I.
    """
    hits = 0
    for first in range(0, len(users), _BLOCK):
        block = users[first : first + _BLOCK]
        exact = np.sort(np.partition(block @ vectors.T, len(vectors) - k, axis=1)[:, -k:], axis=1)
        _, scores = index.search(block, k)
        # Rounded in another order.
        lowest = exact[:, :1] - 1e-5 * np.maximum(1.0, np.abs(exact[:, :1]))
        hits += int((scores >= lowest).sum())
    return hits / (len(users) * k)


def _graph(vectors: NDArray[np.float32], options: IndexOptions) -> Any:
    graph = approximate_index.usearch_index().Index(
        ndim=vectors.shape[1], metric=approximate_index.METRIC, dtype="f32", **dataclasses.asdict(options)
    )
    threads = 1 if len(vectors) <= _BY_ONE_THREAD else 0
    graph.add(np.arange(len(vectors), dtype=np.uint64), np.ascontiguousarray(vectors, np.float32), threads=threads)
    return graph


def _write_record(folder: Path, record: IndexRecord) -> None:
    with written_whole(folder / approximate_index.RECORD_FILE) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n", encoding="utf-8")
