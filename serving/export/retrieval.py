"""Retrieval inside a SavedModel: the catalogue's item vectors, and an exact search of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from serving import contract
from serving.approximate_index import catalogue_digest
from serving.page_order import NEAREST

Specs = dict[str, tf.TensorSpec]


class UserTower(Protocol):
    """A model whose users have vectors, such as `dmf_keras.models.TwoTowers`."""

    @property
    def uses_history_ages(self) -> bool:
        """Whether it reads ages of history items."""

    def user_tower(self, inputs: Mapping[str, Any]) -> Any:
        """User vectors float32 [B, D]."""


class CatalogueIndex(tf.Module):
    """Item vectors of a catalogue, searched by dot product. Exact: every item is looked at.

    Args:
        item_ids: of the catalogue, I of them.
        vectors: float [I, D].

    Attributes:
        items: I.
        columns: float32 [D, I], a variable: the vectors, one in each column.
        item_ids: string [I], a variable.
        digest: of ids and vectors, see `catalogue_digest`.

    Raises:
        ValueError: as many vectors as ids are expected, and at least one.
    """

    def __init__(self, item_ids: Sequence[str], vectors: np.ndarray):
        super().__init__()
        if vectors.ndim != 2 or len(vectors) != len(item_ids) or not len(item_ids):
            raise ValueError(f"there must be a vector for each of {len(item_ids)} items, got {list(vectors.shape)}")
        self.items = len(item_ids)
        self.digest = catalogue_digest(item_ids, np.asarray(vectors, np.float32))
        # Variables and not constants, which make a graph slow to load. Columns, as the product of TensorFlow with rows
        # takes longer by itself.
        columns = np.ascontiguousarray(np.asarray(vectors, np.float32).T)
        self.columns = tf.Variable(columns, trainable=False, name="item_vectors")
        self.item_ids = tf.Variable(np.array(item_ids, object), dtype=tf.string, trainable=False, name="item_ids")

    def products(self, users: tf.Tensor) -> tf.Tensor:
        """Dot products float32 [B, I] of users' vectors [B, D] and those of all items."""
        return tf.matmul(users, self.columns)

    def search(self, users: tf.Tensor, excluded: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The items with the largest dot products; of equal ones those that come first in the catalogue.

        Args:
            users: float32 [B, D].
            excluded: int32 [B, E], places of items in the catalogue, from 1 on; 0 excludes nothing, nor does a place
                beyond the catalogue.
            k: int32 scalar, how many, from 1 to I.

        Returns:
            Ids string [B, k], dot products float32 [B, k] and bool [B, k], whether there is an item: "" and 0 where
            the exclusion leaves fewer.
        """
        scores = self.products(users)
        place = tf.where((excluded > 0) & (excluded <= self.items))
        cells = tf.stack([place[:, 0], tf.cast(tf.gather_nd(excluded, place), tf.int64) - 1], axis=1)
        lowest = tf.fill(tf.shape(place)[:1], -np.inf)
        scores = tf.tensor_scatter_nd_update(scores, cells, tf.cast(lowest, tf.float32))
        values, rows = tf.math.top_k(scores, k)
        there = values > -np.inf
        return _where(there, tf.gather(self.item_ids, rows)), _where(there, values), there


@dataclasses.dataclass(frozen=True, eq=False)
class RetrievalStage:
    """What an export needs to retrieve, and to rank what it retrieved.

    Attributes:
        tower: gives the users' vectors.
        index: has those of the items.
        candidates: that `recommend` retrieves and ranks; 0: there is no such signature.
        weight: of retrieval's score in the order of a page; 0: the ranker's score alone orders it.
    """

    tower: UserTower
    index: CatalogueIndex
    candidates: int = 0
    weight: float = 0.0

    @property
    def ranked(self) -> int:
        """How many items `recommend` ranks: no more than there are."""
        return min(self.candidates, self.index.items)


def page_signature(user_signature: Specs) -> Specs:
    """Specs of what `retrieve` and `recommend` take."""
    return user_signature | {
        contract.K: tf.TensorSpec([None], tf.int32, contract.K),
        contract.EXCLUDE_ITEM_ID: tf.TensorSpec([None, None], tf.string, contract.EXCLUDE_ITEM_ID),
    }


def user_vector(stage: RetrievalStage, users: tf.Tensor) -> dict[str, tf.Tensor]:
    """Outputs of `user_vector`, of vectors float32 [B, D]."""
    requests = tf.shape(users)[:1]
    told = {contract.RETRIEVAL_WEIGHT: tf.fill(requests, stage.weight)} if stage.weight else {}
    return {contract.USER_VECTOR: users, contract.CATALOGUE: tf.fill(requests, stage.index.digest), **told}


def retrieved(stage: RetrievalStage, users: tf.Tensor, excluded: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
    """Outputs of `retrieve`.

    Args:
        stage: of the export.
        users: vectors float32 [B, D].
        excluded: int32 [B, E], see `CatalogueIndex.search`.
        k: int32 [B].

    Raises:
        tf.errors.InvalidArgumentError: when it runs, of a k below 1 or above the catalogue.
    """
    k = _allowed(k, stage.index.items, "the items of the catalogue")
    ids, scores, there = stage.index.search(users, excluded, tf.reduce_max(k))
    there &= _wanted(k)
    return {contract.ITEM_ID: _where(there, ids), contract.SCORE: _where(there, scores)}


def recommended(
    stage: RetrievalStage,
    users: tf.Tensor,
    excluded: tf.Tensor,
    k: tf.Tensor,
    rank: Callable[[tf.Tensor], Mapping[str, tf.Tensor]],
) -> dict[str, tf.Tensor]:
    """Outputs of `recommend`: what `rank` makes of the items that are retrieved.

    Args:
        stage, users, excluded, k: as of `retrieved`; k may not be above what is ranked.
        rank: from ids string [B, N], "" is padding, to `score` and what is beside it, float32 [B, N] each.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, of a k below 1 or above the number of items that are ranked.
    """
    k = _allowed(k, stage.ranked, "the items that are ranked")
    ids, dots, there = stage.index.search(users, excluded, tf.constant(stage.ranked))
    scores = dict(rank(ids))
    place = tf.broadcast_to(tf.range(1, stage.ranked + 1), tf.shape(ids))
    if stage.weight:
        scores[contract.PAGE_SCORE] = _page_scores(scores[contract.SCORE], dots, stage.weight)
    by = scores[contract.PAGE_SCORE if stage.weight else contract.SCORE]
    # Of equal scores the item that was retrieved first.
    _, order = tf.math.top_k(tf.where(there, by, -np.inf), tf.reduce_max(k))
    shown = tf.gather(there, order, axis=1, batch_dims=1) & _wanted(k)
    found = {contract.ITEM_ID: ids, contract.RETRIEVAL_SCORE: dots, contract.RETRIEVAL_RANK: place, **scores}
    return {name: _where(shown, tf.gather(value, order, axis=1, batch_dims=1)) for name, value in found.items()}


def _page_scores(scores: tf.Tensor, dots: tf.Tensor, weight: float) -> tf.Tensor:
    """`serving.page_order.page_scores` of tensors."""
    inside = tf.clip_by_value(scores, NEAREST, 1 - NEAREST)
    return tf.math.log(inside) - tf.math.log1p(-inside) + weight * dots


def _allowed(k: tf.Tensor, most: int, of: str) -> tf.Tensor:
    """k, once it has been looked at."""
    message = f"k must be from 1 to {most}, {of}; got:"
    fits = tf.debugging.Assert(tf.reduce_all((k >= 1) & (k <= most)), [message, k])
    with tf.control_dependencies([fits] if fits is not None else []):
        return tf.identity(k)


def _wanted(k: tf.Tensor) -> tf.Tensor:
    """bool [B, max(k)], whether a place is one of the request's own k."""
    return tf.range(tf.reduce_max(k))[None] < k[:, None]


def _where(there: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The values, and 0 or "" where nothing is."""
    return tf.where(there, values, tf.zeros((), values.dtype))


def tracked(stage: RetrievalStage) -> list[Any]:
    """What an archive tracks for it."""
    tower = tf.Module()
    tower.model = stage.tower
    return [tower, stage.index]
