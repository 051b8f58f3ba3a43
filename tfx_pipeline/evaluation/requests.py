"""The requests of a split with their items as rows of the catalogue, some thousands at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.transform.dataset import untuned

# Requests that are held at a time, and sorted by the length of their history: so batches hold little padding.
_HELD = 16_384


@dataclass(frozen=True, eq=False)
class Requests:
    """Some requests: as they are on disk, and what there is to know of each.

    Attributes:
        serialized: [R] objects; empty where they are not kept.
        users: hashes uint64 [R].
        times: int64 [R], microseconds since 1970.
        history: rows of the catalogue, one request's after the other's, oldest first; -1 of an item that it lacks.
        history_lengths: int64 [R].
        candidates, labels: of the requests' candidates, likewise.
        counts: int64 [R], candidates.
    """

    serialized: np.ndarray
    users: np.ndarray
    times: np.ndarray
    history: np.ndarray
    history_lengths: np.ndarray
    candidates: np.ndarray
    labels: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    @property
    def unknown(self) -> int:
        """Positives that the catalogue lacks."""
        return int((self.labels & (self.candidates < 0)).sum())

    def positives_of(self) -> list[np.ndarray]:
        """Rows of each request's positives, each once."""
        wanted = self.labels & (self.candidates >= 0)
        ends = np.cumsum(self.counts)
        return [
            np.unique(self.candidates[end - count : end][wanted[end - count : end]])
            for end, count in zip(ends, self.counts, strict=True)
        ]

    @property
    def shown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Candidates, labels and counts."""
        return self.candidates, self.labels, self.counts

    @property
    def request_of_candidate(self) -> np.ndarray:
        """int64 [candidates], which of the requests each belongs to."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def history_starts(self) -> np.ndarray:
        """int64 [R + 1], where each request's history begins, and the last one's ends."""
        return np.concatenate([[0], np.cumsum(self.history_lengths)])

    @property
    def candidate_starts(self) -> np.ndarray:
        """int64 [R + 1], where each request's candidates begin, and the last one's end."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @classmethod
    def concatenate(cls, parts: Iterable[Requests]) -> Requests:
        """All of them behind one another, without what is on disk: some 100 bytes a request stay in memory.

        Args:
            parts: at least one.
        """
        columns = zip(*((p.users, p.times, p.history, p.history_lengths, *p.shown) for p in parts), strict=True)
        return cls(np.empty(0, object), *(np.concatenate(column) for column in columns))

    def take(self, rows: np.ndarray) -> Requests:
        """Those of some rows, int64 [n], in their order."""
        of_history, of_candidates = _places(self.history_lengths, rows), _places(self.counts, rows)
        return Requests(
            serialized=self.serialized[rows],
            users=self.users[rows],
            times=self.times[rows],
            history=self.history[of_history],
            history_lengths=self.history_lengths[rows],
            candidates=self.candidates[of_candidates],
            labels=self.labels[of_candidates],
            counts=self.counts[rows],
        )


def places(catalogue: Sequence[str]) -> pd.Index:
    """Finds the row of an id in bytes."""
    return pd.Index([item.encode() for item in catalogue], dtype=object)


def read_requests(files: Sequence[str], place_of: pd.Index) -> Iterator[Requests]:
    """The requests of raw examples, in the order of the files.

    Args:
        files: gzipped TFRecord files.
        place_of: of `places`.
    """
    lists = {
        name: tf.io.RaggedFeature(kind, row_splits_dtype=tf.int64)
        for name, kind in (
            (raw_features.HISTORY_ITEM_ID, tf.string),
            (raw_features.CANDIDATE_ITEM_ID, tf.string),
            (raw_features.LABEL, tf.int64),
        )
    }
    spec = lists | {
        raw_features.USER_ID: tf.io.FixedLenFeature([], tf.string, ""),
        raw_features.REQUEST_TIME: tf.io.FixedLenFeature([], tf.int64),
    }
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_HELD)
    for serialized in untuned(records.prefetch(1)):
        parsed = tf.io.parse_example(serialized, spec)
        history, candidates = parsed[raw_features.HISTORY_ITEM_ID], parsed[raw_features.CANDIDATE_ITEM_ID]
        yield Requests(
            serialized=serialized.numpy(),
            users=pd.util.hash_array(parsed[raw_features.USER_ID].numpy()),
            times=parsed[raw_features.REQUEST_TIME].numpy(),
            history=place_of.get_indexer(history.values.numpy()),
            history_lengths=history.row_lengths().numpy(),
            candidates=place_of.get_indexer(candidates.values.numpy()),
            labels=parsed[raw_features.LABEL].values.numpy().astype(bool),
            counts=candidates.row_lengths().numpy(),
        )


def read_all_requests(files: Sequence[str], catalogue: Sequence[str]) -> Requests:
    """All requests of raw examples, without what is on disk.

    Args:
        files: gzipped TFRecord files; none give no requests.
        catalogue: ids of its items.
    """
    kinds = (object, np.uint64, np.int64, np.int64, np.int64, np.int64, bool, np.int64)
    nothing = Requests(*(np.empty(0, kind) for kind in kinds))
    return Requests.concatenate([nothing, *read_requests(files, places(catalogue))])


def _places(lengths: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Where the values of some rows stand, of lists of these lengths behind one another."""
    starts, wanted = np.cumsum(lengths) - lengths, lengths[rows]
    within = np.arange(wanted.sum()) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    found: np.ndarray = np.repeat(starts[rows], wanted) + within
    return found
