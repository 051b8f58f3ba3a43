"""Where a split's positives stand among all items of the catalogue, and not only among the request's candidates.

The rule: a request ranks every item of the catalogue, but for those that the user had before. These are the items that
stand in the history of this request or of an earlier one of the user, of any split. A positive of the request itself
is always ranked, had before or not. A positive that the catalogue lacks cannot be ranked: it is left out and counted.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import tensorflow as tf

from dmf_keras.metrics.ranking_by_request import RankingByRequest, ranking_of_runs
from dmf_keras.metrics.tie_runs import TieRuns
from dmf_keras.models.inputs import candidate_inputs
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.writing import writing
from tfx_pipeline.transform.dataset import untuned
from tfx_pipeline.transform.request_transform import RequestTransform

# Requests that are held at a time, and sorted by the length of their history: so batches hold little padding.
_HELD = 16_384
# Pairs of a request and an item that are scored at a time, and items of them.
_BATCH, _BLOCK = 16, 1024
# Scores that are kept at a time, of all items for the requests of a batch.
_MOST_SCORES = 2**24

# Is told how many of how many requests are done.
Watch: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class CatalogueRanks:
    """Where the positives of a split stand in the catalogue, by one model.

    The first five are columns [T] of runs of equal score that hold a positive, the next three of requests [R] that have
    a positive in the catalogue.

    Attributes:
        group: int64, which of the requests a run is of.
        size, above: int64, items of the run, and items of a higher score.
        positives: int64, positives of the run.
        ranked: int64, items that the request was ranked among.
        request_positives: int64, its positives.
        has_nan: bool, whether a score is NaN.
        items: of the catalogue.
        without_positive: requests that have no positive in the catalogue.
        unknown_positives: positives that the catalogue lacks.
        seconds: that scoring took.
    """

    group: np.ndarray
    size: np.ndarray
    above: np.ndarray
    positives: np.ndarray
    ranked: np.ndarray
    request_positives: np.ndarray
    has_nan: np.ndarray
    items: int
    without_positive: int
    unknown_positives: int
    seconds: float

    @property
    def ranking(self) -> RankingByRequest:
        """Its metrics, by the rule of ties of all metrics."""
        return ranking_of_runs(
            TieRuns(
                self.group,
                self.size,
                self.above,
                self.positives,
                self.ranked,
                self.request_positives,
                self.has_nan,
            )
        )

    def metrics(self, at_k: Sequence[int]) -> dict[str, float]:
        """Means over requests of `hr@k`, `ndcg@k` and `mrr`; NaN where no request has an answer."""
        ranking = self.ranking
        found = {f"hr@{k}": ranking.hit_rate(k) for k in at_k}
        found |= {f"ndcg@{k}": ranking.ndcg(k) for k in at_k}
        found["mrr"] = ranking.reciprocal_rank()
        return {name: float(values.mean()) if len(values) else float("nan") for name, values in found.items()}

    def save(self, file: Path) -> None:
        """Writes an `.npz` file, by atomic rename."""
        with writing(file) as incoming:
            np.savez_compressed(incoming, **dataclasses.asdict(self))

    @classmethod
    def load(cls, file: Path) -> CatalogueRanks:
        """Reads what `save` wrote."""
        with np.load(file) as arrays:
            values = {name: arrays[name] for name in arrays.files}
        return cls(**{name: value if value.ndim else value.item() for name, value in values.items()})


class Had(NamedTuple):
    """Pairs of a user and an item, in rising order: from when on the user had it.

    Attributes:
        users: hashes uint64, each once, rising.
        starts: int64 [users + 1], where each one's pairs begin and end.
        items: int32, rows of the catalogue.
        since: int64, the time of the first request whose history holds it, in microseconds since 1970.
    """

    users: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    since: np.ndarray

    def before(self, user: np.uint64, moment: np.int64) -> np.ndarray:
        """Rows of the items that the user had by a request of that moment."""
        place = int(np.searchsorted(self.users, user))
        pairs = slice(self.starts[place], self.starts[place + 1])
        return self.items[pairs][self.since[pairs] <= moment]


def rank_catalogue(
    model: RankingModel,
    transform: RequestTransform,
    catalogue: Sequence[str],
    files: Sequence[str],
    had: Had,
    watch: Watch = lambda done, requests: None,
) -> CatalogueRanks:
    """Scores all items for every request of a split that has a positive.

    A user is encoded once a request; the catalogue is looked up once, and scored block by block. Memory does not grow
    with the split: requests are held some thousands at a time.

    Args:
        model: trained. Its probabilities are compared, of several objectives those of the first.
        transform: requests to model inputs. Columns of candidates with role bias have their serving value; those with
            role feature are missing.
        catalogue: ids of all items.
        files: gzipped TFRecord files of raw examples, of one split.
        had: of `items_had`, of the split's users.
        watch: is told of the progress.

    Raises:
        DataError: no request has a positive.
    """
    started = time.perf_counter()
    place_of = pd.Index([item.encode() for item in catalogue], dtype=object)
    blocks = _catalogue_blocks(model, transform, catalogue)
    encode, score = _functions(model, transform)
    batch = max(1, min(_BATCH, _MOST_SCORES // max(1, len(catalogue))))
    total = _count(files)
    runs: list[tuple[int, ...]] = []
    of_requests: list[tuple[int, int, bool]] = []
    unknown = without = done = 0
    for held in _requests(files, place_of):
        unknown += held.unknown
        asked = held.positives_of()
        without += sum(len(positives) == 0 for positives in asked)
        order = [row for row in np.argsort(held.history_lengths, kind="stable") if len(asked[row])]
        done += len(asked) - len(order)
        for first in range(0, len(order), batch):
            rows = order[first : first + batch]
            scores = _scores(encode(tf.constant(held.serialized[rows])), blocks, score, len(catalogue))
            for row, own in zip(rows, scores, strict=True):
                positives, left_out = asked[row], np.zeros(len(own), bool)
                left_out[had.before(held.users[row], held.times[row])] = True
                left_out[positives] = False
                found, ranked = own[positives], own[~left_out]
                for value in np.unique(found[~np.isnan(found)]):
                    places = (int((each).sum()) for each in (ranked == value, ranked > value, found == value))
                    runs.append((len(of_requests), *places))
                of_requests.append((len(ranked), len(positives), bool(np.isnan(ranked).any())))
            done += len(rows)
            watch(done, total)
    if not of_requests:
        raise DataError("no request of the split has a positive in the catalogue: there is nothing to rank")
    # There are none where every score is NaN.
    group, size, above, positives = np.array(runs, np.int64).reshape(-1, 4).T
    ranked, request_positives, has_nan = zip(*of_requests, strict=True)
    return CatalogueRanks(
        group=group,
        size=size,
        above=above,
        positives=positives,
        ranked=np.array(ranked, np.int64),
        request_positives=np.array(request_positives, np.int64),
        has_nan=np.array(has_nan, bool),
        items=len(catalogue),
        without_positive=without,
        unknown_positives=unknown,
        seconds=time.perf_counter() - started,
    )


def items_had(examples: Sequence[Sequence[str]], judged: Sequence[str], catalogue: Sequence[str]) -> Had:
    """What the users of a split had, and since when.

    Args:
        examples: files of raw examples of every split.
        judged: those of the split whose users count.
        catalogue: ids of all items; others are left out.
    """
    place_of = pd.Index([item.encode() for item in catalogue], dtype=object)
    users = np.unique(np.concatenate([held.users for held in _requests(judged, place_of)] or [np.empty(0, np.uint64)]))
    pairs = pd.DataFrame({"user": np.empty(0, np.int64), "item": np.empty(0, np.int32), "since": np.empty(0, np.int64)})
    fresh: list[pd.DataFrame] = []
    for files in examples:
        for held in _requests(files, place_of):
            place = np.searchsorted(users, held.users)
            known = np.isin(held.users, users)
            of_pair = np.repeat(np.arange(len(held.users)), held.history_lengths)
            kept = known[of_pair] & (held.history >= 0)
            found = pd.DataFrame(
                {
                    "user": place[of_pair[kept]],
                    "item": held.history[kept].astype(np.int32),
                    "since": held.times[of_pair[kept]],
                }
            )
            fresh.append(_first_times([found]))
            # Not after every part, which would sort all pairs again and again.
            if sum(map(len, fresh)) > len(pairs):
                pairs, fresh = _first_times([pairs, *fresh]), []
    pairs = _first_times([pairs, *fresh])
    starts = np.searchsorted(pairs["user"].to_numpy(), np.arange(len(users) + 1))
    return Had(users, starts, pairs["item"].to_numpy(np.int32), pairs["since"].to_numpy(np.int64))


def _first_times(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Each pair of a user and an item once, with its first moment, in rising order."""
    return pd.concat(parts).groupby(["user", "item"], as_index=False).min()


@dataclass(frozen=True, eq=False)
class _Held:
    """Some requests: as they are on disk, and what there is to know of each.

    Attributes:
        serialized: [R] objects.
        users: hashes uint64 [R].
        times: int64 [R], microseconds since 1970.
        history: rows of the catalogue, one request's after the other's; -1 of an item that it lacks.
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


def _requests(files: Sequence[str], place_of: pd.Index) -> Iterator[_Held]:
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
        yield _Held(
            serialized=serialized.numpy(),
            users=pd.util.hash_array(parsed[raw_features.USER_ID].numpy()),
            times=parsed[raw_features.REQUEST_TIME].numpy(),
            history=place_of.get_indexer(history.values.numpy()),
            history_lengths=history.row_lengths().numpy(),
            candidates=place_of.get_indexer(candidates.values.numpy()),
            labels=parsed[raw_features.LABEL].values.numpy().astype(bool),
            counts=candidates.row_lengths().numpy(),
        )


def _count(files: Sequence[str]) -> int:
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP")
    return int(records.reduce(np.int64(0), lambda count, _: count + 1))


def _catalogue_blocks(
    model: RankingModel, transform: RequestTransform, catalogue: Sequence[str]
) -> list[dict[str, tf.Tensor]]:
    """Model inputs of all items, [1, block] each; the last block is filled up with padding, to have the same shape."""
    size = min(_BLOCK, len(catalogue))
    padded = [*catalogue, *[""] * (-len(catalogue) % size)]
    wanted = candidate_inputs(model.schema)
    blocks = []
    for first in range(0, len(padded), size):
        raw = {raw_features.CANDIDATE_ITEM_ID: tf.constant([padded[first : first + size]])}
        for name, kind in transform.candidate_inputs.items():
            raw[name] = tf.fill([1, size], "" if kind == "string" else np.float32("nan"))
        blocks.append({name: value for name, value in transform.candidates(raw).items() if name in wanted})
    return blocks


def _functions(
    model: RankingModel, transform: RequestTransform
) -> tuple[Callable[[tf.Tensor], dict[str, tf.Tensor]], Callable[..., tf.Tensor]]:
    """The user's state of raw examples [B], and probabilities [B, block] for it."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(model.encode_user(transform.examples(serialized)))

    @tf.function(autograph=False, reduce_retracing=True)
    def score(state: dict[str, tf.Tensor], block: dict[str, tf.Tensor]) -> tf.Tensor:
        requests = tf.shape(next(iter(state.values())))[0]
        inputs = {name: tf.repeat(value, requests, axis=0) for name, value in block.items()}
        found = model.probabilities(model.score(state, inputs))
        return found[..., 0] if model.schema.objectives else found

    return encode, score


def _scores(
    state: dict[str, tf.Tensor],
    blocks: Sequence[dict[str, tf.Tensor]],
    score: Callable[..., tf.Tensor],
    items: int,
) -> np.ndarray:
    """Probabilities float32 [B, items]."""
    return np.concatenate([score(state, block).numpy() for block in blocks], axis=1)[:, :items]
