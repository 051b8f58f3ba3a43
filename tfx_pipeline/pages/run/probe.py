"""What a trained model has learned about content, seen on a sample of test requests by `RankingModel.explain`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from keras import ops

from dmf_keras.layers import DecoupledTargetAttention
from dmf_keras.models import explanation
from dmf_keras.models.dmf.model import DMFPaper
from dmf_keras.models.inputs import CANDIDATE_INDEX, HISTORY_INDEX
from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.models.similarity_model import SimilarityModel
from dmf_keras.models.target_attention.model import VALUES
from dmf_keras.ops.bucketing import equal_width_edges
from dmf_keras.types import Tensor
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.transform.request_transform import RequestTransform

# The logit of each combination of a model's parts is computed: 64 of DMF's six.
REQUESTS = 2_000
_BATCH = 100
_WEIGHT = "enriched_weight"


@dataclass(frozen=True)
class Modality:
    """Similarity of one modality and what it does; S buckets in rising similarity, then the missing one.

    Attributes:
        borders: float64 [S + 1], of the S buckets, from -1 to 1.
        pairs: int64 [S + 1], pairs of a candidate and an item of its history by bucket.
        attention: float64 [S + 1], attention weights summed by bucket; None of a model without attention.
        value_norm: float64 [S + 1], root mean square of |v_j + E_V[b]| over the pairs of a bucket, NaN where it has
            none; None of a model without such tables.
        plain_value_norm: the same of |v_j| over all pairs; None likewise.
        key_shift: float64 [S + 1], mean of what E_K[b] adds to the attention logit, over all candidates and heads.
        largest, mean: float32 [rows], cosine of a candidate to the most alike item of its history, and to all of it on
            average; NaN where there is no pair with content on both sides.
    """

    borders: np.ndarray
    pairs: np.ndarray
    attention: np.ndarray | None
    value_norm: np.ndarray | None
    plain_value_norm: float | None
    key_shift: np.ndarray | None
    largest: np.ndarray
    mean: np.ndarray


@dataclass(frozen=True)
class Probe:
    """A sample of candidates, each a row.

    Attributes:
        requests: how many requests they are from.
        labels: bool [rows].
        item_ids: bytes objects [rows].
        logits: float32 [rows].
        contributions, without: by part of the model, float32 [rows]: what the part adds to the logit, and the logit
            when it is silent; see `dmf_keras.models.explanation`.
        modalities: by name; empty of a model that does not compare contents.
        enriched_weight: float32 [rows], weight of the enriched interest in the mixture; None of a model that has not
            both branches, or lays them side by side.
    """

    requests: int
    labels: np.ndarray
    item_ids: np.ndarray
    logits: np.ndarray
    contributions: dict[str, np.ndarray]
    without: dict[str, np.ndarray]
    modalities: dict[str, Modality]
    enriched_weight: np.ndarray | None


def probe_model(
    model: RankingModel,
    transform: RequestTransform,
    files: Sequence[str],
    requests: int = REQUESTS,
) -> Probe | None:
    """Explains the scores of the first requests of a split, whose order is random.

    Args:
        model: trained.
        transform: raw requests to model inputs.
        files: gzipped TFRecord files of serialised requests.
        requests: how many at most.

    Returns:
        What was found; None of a model that has nothing to tell.
    """
    spec = {
        raw_features.LABEL: tf.io.VarLenFeature(tf.int64),
        raw_features.CANDIDATE_ITEM_ID: tf.io.VarLenFeature(tf.string),
    }
    sums = {name: _Sums(model, name) for name in model.content} if isinstance(model, SimilarityModel) else {}
    attention = getattr(model, "attention", None)
    rows: dict[str, list[np.ndarray]] = {}
    seen = 0
    for batch in tf.data.TFRecordDataset(list(files), "GZIP").take(requests).batch(_BATCH):
        seen += len(batch)
        inputs = transform.examples(batch)
        state = model.encode_user(inputs)
        told = {name: ops.convert_to_numpy(value) for name, value in model.explain(state, inputs).items()}
        parsed = tf.io.parse_example(batch, spec)
        real = ops.convert_to_numpy(inputs[CANDIDATE_INDEX]) != 0
        # Of the inputs: what a model of somebody's own keeps in its state is its own affair.
        valid = real[:, :, None] & (ops.convert_to_numpy(inputs[HISTORY_INDEX]) != 0)[:, None, :]
        values = query = None
        if isinstance(attention, DecoupledTargetAttention):
            values = ops.convert_to_numpy(state[VALUES])
            query = ops.convert_to_numpy(attention.query(model.candidate_items(inputs)))[real]
        if (weight := _enriched_weight(model, state, inputs)) is not None:
            told[_WEIGHT] = weight
        for one in sums.values():
            told |= one.add(told, values, query, valid)
        found = {name: value[real] for name, value in told.items() if value.shape == real.shape}
        found["labels"] = parsed[raw_features.LABEL].values.numpy() == 1
        found["item_ids"] = parsed[raw_features.CANDIDATE_ITEM_ID].values.numpy()
        for name, column in found.items():
            rows.setdefault(name, []).append(column)
    if explanation.LOGIT not in rows:
        return None
    joined = {name: np.concatenate(parts) for name, parts in rows.items()}

    def by_part(name_of: Callable[[str], str]) -> dict[str, np.ndarray]:
        prefix = name_of("")
        return {name.removeprefix(prefix): values for name, values in joined.items() if name.startswith(prefix)}

    return Probe(
        requests=seen,
        labels=joined["labels"],
        item_ids=joined["item_ids"],
        logits=joined[explanation.LOGIT],
        contributions=by_part(explanation.contribution),
        without=by_part(explanation.without),
        modalities={name: one.result(joined) for name, one in sums.items()},
        enriched_weight=joined.get(_WEIGHT),
    )


def _enriched_weight(
    model: RankingModel, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> np.ndarray | None:
    """alpha_n [B, N] of r_n = alpha_n e_n + (1 - alpha_n) c_n, solved for it, whatever the mode of mixing."""
    if not isinstance(model, DMFPaper) or len(model.config.branches) < 2 or model.config.mixing == "concat":
        return None
    candidates = model.candidate_items(inputs)
    parts = model.interest_parts(state, candidates, inputs, training=False)
    mixed = ops.convert_to_numpy(model.join_interest(parts)).astype(np.float64)
    enriched, centric = (ops.convert_to_numpy(part).astype(np.float64) for part in parts.values())
    apart = enriched - centric
    weight: np.ndarray = ((mixed - centric) * apart).sum(axis=2) / (apart**2).sum(axis=2).clip(1e-30)
    return weight


class _Sums:
    """Sums over the pairs of one modality, batch by batch."""

    def __init__(self, model: SimilarityModel, name: str):
        buckets = model.similarity[name]
        edges = buckets.edge_values
        inner = equal_width_edges(buckets.buckets) if edges is None else ops.convert_to_numpy(edges)
        self._name, self._size = name, buckets.buckets + 1
        self._borders = np.array([-1.0, *inner, 1.0])
        self._pairs = np.zeros(self._size, np.int64)
        self._attention: np.ndarray | None = None
        attention = getattr(model, "attention", None)
        self._tables: tuple[np.ndarray, np.ndarray] | None = None
        if isinstance(attention, DecoupledTargetAttention):
            self._tables = _tables(attention, name)
            self._scale = 1 / (attention.heads * math.sqrt(attention.head_width))
            self._values = np.zeros(self._tables[1].shape)
            self._squares = np.zeros(self._size)
            self._query = np.zeros(self._tables[0].shape[1])
            self._candidates = 0

    def add(
        self, told: Mapping[str, np.ndarray], values: np.ndarray | None, query: np.ndarray | None, valid: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Adds a batch.

        Args:
            told: by `explain`.
            values: v_j [B, L, H, A], of a model with tables.
            query: q_n of the real candidates [rows, H A], likewise.
            valid: bool [B, N, L], pairs of real candidates and real items of the history.

        Returns:
            `largest` and `mean` similarities [B, N], NaN where there are none.
        """
        ids, cosines = told[explanation.bucket(self._name)], told[explanation.similarity(self._name)]
        ids = np.where(ids < 0, self._size - 1, ids)
        self._pairs += np.bincount(ids[valid], minlength=self._size)
        if explanation.ATTENTION in told:
            weights = np.bincount(ids[valid], told[explanation.ATTENTION][valid], minlength=self._size)
            self._attention = weights if self._attention is None else self._attention + weights
        if self._tables is not None and values is not None and query is not None:
            self._add_values(ids, valid, values)
            self._query += query.sum(axis=0)
            self._candidates += len(query)
        both = valid & (ids < self._size - 1)
        count = both.sum(axis=2)
        largest = np.where(both, cosines, -np.inf).max(axis=2, initial=-np.inf)
        mean = np.divide(
            np.where(both, cosines, 0).sum(axis=2), count, out=np.full(count.shape, np.nan), where=count > 0
        )
        return {_largest(self._name): np.where(count > 0, largest, np.nan), _mean(self._name): mean}

    def _add_values(self, ids: np.ndarray, valid: np.ndarray, values: np.ndarray) -> None:
        """Sums of v_j and of |v_j|^2 by bucket, from how often each history item falls into each bucket."""
        batch, _, length = ids.shape
        values = values.reshape(batch * length, -1).astype(np.float64)
        place = np.arange(batch)[:, None, None] * length + np.arange(length)[None, None, :]
        flat = (np.broadcast_to(place, ids.shape) * self._size + ids)[valid]
        counts = np.bincount(flat, minlength=batch * length * self._size).reshape(batch * length, self._size)
        self._values += counts.T @ values
        self._squares += counts.T @ (values**2).sum(axis=1)

    def result(self, rows: Mapping[str, np.ndarray]) -> Modality:
        """What was summed."""
        norms = plain = shift = None
        if self._tables is not None:
            keys, table = self._tables
            shift = keys @ (self._query / max(self._candidates, 1)) * self._scale
            # |v + E|^2 = |v|^2 + 2 v . E + |E|^2, summed over the pairs of a bucket.
            squares = self._squares + 2 * (self._values * table).sum(axis=1) + self._pairs * (table**2).sum(axis=1)
            norms = np.sqrt(np.divide(squares, self._pairs, out=np.full(self._size, np.nan), where=self._pairs > 0))
            plain = float(np.sqrt(self._squares.sum() / max(self._pairs.sum(), 1)))
        return Modality(
            borders=self._borders,
            pairs=self._pairs,
            attention=self._attention,
            value_norm=norms,
            plain_value_norm=plain,
            key_shift=shift,
            largest=rows[_largest(self._name)],
            mean=rows[_mean(self._name)],
        )


def _tables(attention: DecoupledTargetAttention, modality: str) -> tuple[np.ndarray, np.ndarray]:
    """E_K and E_V, float64 [S + 1, H A]."""
    place = attention.modalities.index(modality)
    keys, values = (
        ops.convert_to_numpy(table).astype(np.float64).reshape(attention.buckets + 1, -1)
        for table in (attention.key_tables[place], attention.value_tables[place])
    )
    return keys, values


def _largest(modality: str) -> str:
    return f"largest_{modality}"


def _mean(modality: str) -> str:
    return f"mean_{modality}"
