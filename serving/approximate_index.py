"""An approximate index of a model's catalogue, searched beside the caller; it needs numpy and usearch, no TensorFlow.

`serving.export.approximate_index` makes one at export. A pushed version has it in `assets.extra`, as three files: the
graph that usearch reads, the ids of its items, and what is known of both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import numbers
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.contract import EXTRA_ASSETS

GRAPH_FILE = f"{EXTRA_ASSETS}/approximate_index.usearch"
IDS_FILE = f"{EXTRA_ASSETS}/approximate_index_ids.txt"
RECORD_FILE = f"{EXTRA_ASSETS}/approximate_index.json"
FORMAT = 1
# A product is 1 less a distance of usearch.
METRIC = "ip"
_DIGITS = 32


class MissingLibrary(ImportError):
    """usearch is not installed."""


class UnusableIndex(ValueError):
    """There is no index in a folder, or what is there cannot be read."""


@dataclasses.dataclass(frozen=True)
class IndexRecord:
    """What is known of an index: `assets.extra/approximate_index.json`.

    Attributes:
        format: of the three files.
        library: by which the graph was written, with its version.
        metric: by which items are near.
        items: I.
        width: D of the vectors.
        catalogue: `catalogue_digest` of ids and vectors, which the model answers too: what binds one to the other.
        connectivity: neighbours of an item in the graph.
        expansion_add: candidates that were kept while an item was added.
        expansion_search: candidates that are kept in a search, at least; never fewer than it returns.
        ranked_candidates: how many items a page is made of; 0: nothing is ranked.
        at: k of the recall.
        recall: share of the `at` largest dot products that a search finds, over `users`.
        users: vectors of users by which that was measured.
        build_seconds: that it took to make.
        graph_sha256, ids_sha256: of the two other files.
    """

    format: int
    library: str
    metric: str
    items: int
    width: int
    catalogue: str
    connectivity: int
    expansion_add: int
    expansion_search: int
    ranked_candidates: int
    at: int
    recall: float
    users: int
    build_seconds: float
    graph_sha256: str
    ids_sha256: str


def usearch_index() -> Any:
    """The module `usearch.index`.

    Raises:
        MissingLibrary: it is not installed.
    """
    try:
        from usearch import index
    except ImportError as error:
        raise MissingLibrary(
            "an approximate index needs usearch, which is not installed; install the extra `retrieval`: "
            "pip install 'dmf-ranking[retrieval]'",
            name="usearch",
        ) from error
    return index


def catalogue_digest(item_ids: Sequence[str], vectors: NDArray[np.float32]) -> str:
    """A short text that another catalogue, or other vectors of it, do not have.

    Args:
        item_ids: I of them.
        vectors: float32 [I, D].
    """
    digest = hashlib.sha256(repr(vectors.shape).encode())
    digest.update("\n".join(item_ids).encode())
    digest.update(np.ascontiguousarray(vectors, np.float32).tobytes())
    return digest.hexdigest()[:_DIGITS]


class ApproximateIndex:
    """Items of a catalogue, searched by dot product; most of the best are found, and not every item is looked at.

    Threads may share one. A search holds a lock: several at once take turns, and users of one call share the cores.

    Args:
        graph: usearch's index, whose keys are the places of items in the catalogue.
        ids: the items' ids as UTF-8, one a line, in the catalogue's order.
        record: of both.
        source: the folder that it was read from, for messages.

    Attributes:
        record: what is known of it.
        source: where it is from.
    """

    def __init__(self, graph: Any, ids: bytes, record: IndexRecord, source: str):
        self.record = record
        self.source = source
        self._graph = graph
        # As one text: a million strings of Python would be several times as large.
        self._ids = ids
        ends = np.flatnonzero(np.frombuffer(ids, np.uint8) == ord("\n"))
        self._ends = np.concatenate([[-1], ends])
        self._lock = threading.Lock()

    @classmethod
    def load(cls, version: str | Path) -> ApproximateIndex:
        """Reads the index of an exported or pushed model; the graph stays a file that processes share in memory.

        Args:
            version: folder of the version, such as `serving/NAME/1730000000`; of it only the three files are read.

        Raises:
            MissingLibrary: usearch is not installed.
            UnusableIndex: there is no index, or its files are damaged or of another format.
        """
        folder = Path(version)
        record = read_record(folder)
        if record is None:
            raise UnusableIndex(
                f"{folder} has no approximate index ({RECORD_FILE}); train and push a model with "
                "`stages: {retrieval: {approximate: {}}}` in the configuration"
            )
        library = usearch_index()
        graph_file, ids_file = folder / GRAPH_FILE, folder / IDS_FILE
        # usearch trusts what it reads: a damaged graph could end the process.
        for file, expected in ((graph_file, record.graph_sha256), (ids_file, record.ids_sha256)):
            if sha256(file) != expected:
                raise UnusableIndex(
                    f"{file} is not what {RECORD_FILE} describes: it is damaged, or of another version; copy all "
                    "three files of the version again"
                )
        try:
            graph = library.Index(
                ndim=record.width, metric=record.metric, dtype="f32", expansion_search=record.expansion_search
            )
            graph.view(str(graph_file))
            graph.expansion_search = record.expansion_search
            ids = ids_file.read_bytes()
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise UnusableIndex(f"{graph_file} cannot be read by usearch: {error}") from None
        found = cls(graph, ids, record, str(folder))
        if not len(graph) == len(found._ends) - 1 == record.items:
            raise UnusableIndex(
                f"{folder}: {record.items} items are expected, the graph has {len(graph)}, and {len(found._ends) - 1} "
                "ids are there"
            )
        return found

    def __len__(self) -> int:
        return self.record.items

    def __repr__(self) -> str:
        return f"<ApproximateIndex of {self.record.items} items, {self.record.width} wide, from {self.source}>"

    def search(
        self, vectors: NDArray[Any], k: int, exclude: Sequence[Collection[str]] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The k items of each user with the largest dot products, as far as the graph finds them.

        More are looked for where some are excluded. A row is short only where exclusion leaves fewer items: before it
        would be short for another reason, all items are looked at.

        Args:
            vectors: of users, float [B, D].
            k: how many, from 1 to I.
            exclude: ids that must not be found, for each user; unknown ones are no error. None excludes nothing.

        Returns:
            Ids, str in an array of objects [B, k], and dot products float32 [B, k], in falling order; of equal ones
            that were found the first in the catalogue comes first. "" and 0 where a row is short.

        Raises:
            ValueError: vectors of another shape or not finite, a k that cannot be, or not an exclusion for each user.
        """
        users = np.asarray(vectors, np.float32)
        if users.ndim != 2 or users.shape[1] != self.record.width:
            raise ValueError(f"vectors must be [users, {self.record.width}], got {list(users.shape)}")
        if not np.isfinite(users).all():
            raise ValueError("vectors must be finite numbers")
        if not _whole(k) or not 1 <= k <= self.record.items:
            raise ValueError(f"k must be from 1 to {self.record.items}, the items of the catalogue; got {k}")
        excluded = [set(each) for each in exclude] if exclude is not None else [set()] * len(users)
        if len(excluded) != len(users):
            raise ValueError(
                f"exclude must have a collection of ids for each of {len(users)} users, got {len(excluded)}"
            )
        ids = np.full((len(users), k), "", object)
        scores = np.zeros((len(users), k), np.float32)
        for row, (items, products) in enumerate(self._found(users, int(k), excluded)):
            ids[row, : len(items)] = items
            scores[row, : len(items)] = products
        return ids, scores

    def _found(
        self, users: NDArray[np.float32], k: int, excluded: Sequence[Collection[str]]
    ) -> list[tuple[list[str], NDArray[np.float32]]]:
        """Of each user at most k items and their products."""
        if not len(users):
            return []
        longest = max(map(len, excluded))
        # So many are enough in any case. Most of what is excluded is often not near, so fewer are asked for first.
        most = min(self.record.items, k + longest)
        count = min(most, k + min(k, longest))
        while True:
            found = self._kept(users, k, count, excluded, exact=False)
            short = [row for row, (items, _) in enumerate(found) if len(items) < k]
            if not short or count == most:
                break
            count = min(2 * count, most)
        if short and (again := self._kept(users[short], k, most, [excluded[row] for row in short], exact=True)):
            for row, items in zip(short, again, strict=True):
                found[row] = items
        return found

    def _kept(
        self, users: NDArray[np.float32], k: int, count: int, excluded: Sequence[Collection[str]], *, exact: bool
    ) -> list[tuple[list[str], NDArray[np.float32]]]:
        """The first k of the `count` nearest that are not excluded."""
        with self._lock:
            matches = self._graph.search(users, count, threads=1 if len(users) == 1 else 0, exact=exact)
        keys, distances = np.atleast_2d(matches.keys), np.atleast_2d(matches.distances)
        counts = [len(keys[0])] if len(users) == 1 else matches.counts.tolist()
        found = []
        for row, there in enumerate(counts):
            products = 1.0 - distances[row, :there].astype(np.float32)
            order = np.lexsort((keys[row, :there], -products))
            items = [self._id(int(key)) for key in keys[row, order]]
            kept = [place for place, item in enumerate(items) if item not in excluded[row]][:k]
            found.append(([items[place] for place in kept], products[order][kept]))
        return found

    def _id(self, place: int) -> str:
        return self._ids[self._ends[place] + 1 : self._ends[place + 1]].decode()


def _whole(number: Any) -> bool:
    return isinstance(number, numbers.Integral) and not isinstance(number, bool)


def read_record(version: str | Path) -> IndexRecord | None:
    """What is known of a version's index; None where it has none.

    Raises:
        UnusableIndex: it cannot be read, or is of another format.
    """
    file = Path(version) / RECORD_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if (found := values["format"]) != FORMAT:
            raise UnusableIndex(
                f"{file} is of format {found}, expected {FORMAT}; read it with the release that wrote it"
            )
        return IndexRecord(**values)
    except FileNotFoundError:
        return None
    except UnusableIndex:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UnusableIndex(f"{file} cannot be read: {error}") from None


def sha256(file: Path) -> str:
    """Of the contents of a file, in hexadecimal digits.

    Raises:
        UnusableIndex: it cannot be read.
    """
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UnusableIndex(f"{file} cannot be read: {error}") from None
