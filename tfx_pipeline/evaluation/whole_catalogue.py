"""Where a split's positives stand among all items of the catalogue, and not only among the request's candidates.

The rule: a request ranks every item of the catalogue, but for those that the user had before. These are the items that
stand in the history of this request or of an earlier one of the user, of any split. A positive of the request itself
is always ranked, had before or not. A positive that the catalogue lacks cannot be ranked: it is left out and counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from dmf_keras.metrics.ranking_by_request import RankingByRequest, ranking_of_runs
from dmf_keras.metrics.tie_runs import TieRuns
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.evaluation.asking import Asking
from tfx_pipeline.evaluation.catalogue_scoring import catalogue_blocks, first_probabilities, user_encoder
from tfx_pipeline.evaluation.items_had import Had
from tfx_pipeline.files.array_record import ArrayRecord
from tfx_pipeline.transform.request_transform import RequestTransform

# Pairs of a request and an item that are scored at a time, and items of them.
_BATCH, _BLOCK = 16, 1024
# Scores that are kept at a time, of all items for the requests of a batch.
_MOST_SCORES = 2**24

# Is told how many of how many requests are done.
Watch: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class CatalogueRanks(ArrayRecord):
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
    asking = Asking(files, catalogue, had)
    blocks = catalogue_blocks(model.schema, transform, catalogue, _BLOCK)
    encode, score = user_encoder(model, transform), _scorer(model)
    runs: list[tuple[int, ...]] = []
    of_requests: list[tuple[int, int, bool]] = []
    for asked in asking.batches(max(1, min(_BATCH, _MOST_SCORES // max(1, len(catalogue))))):
        scores = _scores(encode(tf.constant(asked.requests.serialized)), blocks, score, len(catalogue))
        for positives, had_before, own in zip(asked.positives, asked.left_out, scores, strict=True):
            left_out = np.zeros(len(own), bool)
            left_out[had_before] = True
            found, ranked = own[positives], own[~left_out]
            for value in np.unique(found[~np.isnan(found)]):
                places = (int((each).sum()) for each in (ranked == value, ranked > value, found == value))
                runs.append((len(of_requests), *places))
            of_requests.append((len(ranked), len(positives), bool(np.isnan(ranked).any())))
        watch(asking.done, asking.total)
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
        without_positive=asking.without_positive,
        unknown_positives=asking.unknown_positives,
        seconds=time.perf_counter() - started,
    )


def _scorer(model: RankingModel) -> Callable[..., tf.Tensor]:
    """Probabilities [B, block] of a block of items for users' states."""

    @tf.function(autograph=False, reduce_retracing=True)
    def score(state: dict[str, tf.Tensor], block: dict[str, tf.Tensor]) -> tf.Tensor:
        requests = tf.shape(next(iter(state.values())))[0]
        inputs = {name: tf.repeat(value, requests, axis=0) for name, value in block.items()}
        return first_probabilities(model, state, inputs)

    scorer: Callable[..., tf.Tensor] = score
    return scorer


def _scores(
    state: dict[str, tf.Tensor],
    blocks: Sequence[dict[str, tf.Tensor]],
    score: Callable[..., tf.Tensor],
    items: int,
) -> np.ndarray:
    """Probabilities float32 [B, items]."""
    return np.concatenate([score(state, block).numpy() for block in blocks], axis=1)[:, :items]
