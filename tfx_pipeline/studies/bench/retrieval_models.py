"""Both stages with random weights over a synthetic catalogue, exported together, and what they must answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving import contract
from serving.export.retrieval import CatalogueIndex, RetrievalStage
from serving.export.signatures import export_model
from serving.load import RankRequest, draw_requests
from tfx_pipeline.evaluation.catalogue_scoring import item_vectors
from tfx_pipeline.studies.bench import serving_models, workload
from tfx_pipeline.studies.bench.variant import Variant

# By which the recall of an approximate index is measured.
_MORE_USERS = 200
RANKER, TOWER = Variant("dmf"), Variant("two_towers")


@dataclass(frozen=True, eq=False)
class RandomCatalogue:
    """What was exported, as the live Keras model has it.

    Attributes:
        item_ids: I of them.
        vectors: of the items, float32 [I, D].
        requests: of users with a history and without candidates.
        users: vectors of these users, float32 [R, D].
        more_users: vectors of other users with a history, float32 [U, D].
    """

    item_ids: Sequence[str]
    vectors: np.ndarray
    requests: Sequence[RankRequest]
    users: np.ndarray
    more_users: np.ndarray

    def largest(self, request: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The right answer to a request that excludes its history, by a sort of all dot products.

        Args:
            request: its number.
            k: how many items, fewer than the history leaves.

        Returns:
            The k largest dot products float32 [k], falling, and those of all items float32 [I], -inf of the history.
        """
        products = self.vectors @ self.users[request]
        history = self.requests[request].user[contract.HISTORY_ITEM_ID]
        # An id has the number of its row.
        products[[int(item[1:]) for item in history]] = -np.inf
        return np.sort(products)[::-1][:k], products


def export_random_stages(
    directory: Path, *, items: int, candidates: int, history: int, requests: int
) -> RandomCatalogue:
    """Exports a ranker with a two-tower stage as the pipeline does, with random weights and content.

    Args:
        directory: of the SavedModel; must not exist, its parent must.
        items: I.
        candidates: that `recommend` retrieves and ranks.
        history: L of every request.
        requests: how many there are.
    """
    schema = workload.schema(items=items + 1, users=serving_models.USERS + 1)
    ids, users = serving_models.item_ids(items), serving_models.user_ids()[:requests]
    drawn = draw_requests(
        ids, [{contract.USER_ID: user} for user in users], candidates=1, history=history, count=requests
    )
    tower = serving_models.random_model(TOWER, schema)
    transform = serving_models.CatalogueTransform(directory.parent, items=items)
    vectors = item_vectors(tower, np.arange(1, items + 1, dtype=np.int32))
    others = draw_requests(
        ids, [{contract.USER_ID: user} for user in users], candidates=1, history=history, count=_MORE_USERS, seed=1
    )

    def vectors_of(requests: Sequence[RankRequest]) -> np.ndarray:
        raw = {
            contract.USER_ID: tf.constant([one.user[contract.USER_ID] for one in requests]),
            contract.HISTORY_ITEM_ID: tf.constant([one.user[contract.HISTORY_ITEM_ID] for one in requests]),
        }
        return np.asarray(tower.user_tower(transform.user(raw)), np.float32)

    export_model(
        serving_models.random_model(RANKER, schema),
        transform,
        directory,
        name=RANKER.model,
        max_history=serving_models.MAX_HISTORY,
        retrieval=RetrievalStage(tower, CatalogueIndex(ids, vectors), candidates),
    )
    return RandomCatalogue(ids, vectors, drawn, vectors_of(drawn), vectors_of(others))
