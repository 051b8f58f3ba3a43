"""Items whose content is near to that of the history."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.evaluation.retrieval.retriever import ExactRetriever, else_popular, histories
from tfx_pipeline.evaluation.retrieval.train_items import TrainItems


class ContentNeighbours(ExactRetriever):
    """Retrieves by the cosine of an item's content to the mean content of the history.

    A cold item is found as easily as any other. Items without content come after all others, by popularity, and so do
    all items of a history that has no content.

    Args:
        content: of the catalogue.
        train: of the train split, for popularity.
        modality: the one that is compared; None: all of them, the vectors of an item joined and of unit length.
    """

    def __init__(self, content: ItemContentTable, train: TrainItems, modality: str | None = None):
        super().__init__(len(content.item_ids))
        self._positives = train.positives
        tables = content.modalities.values() if modality is None else [content.modalities[modality]]
        joined = np.concatenate([matrix.vectors.astype(np.float32) for matrix in tables], axis=1)
        self._vectors, self._known = _unit(joined)

    @override
    def scores(self, requests: Requests) -> np.ndarray:
        # Items without content are zeros, which change no direction.
        profiles, known = _unit(histories(requests, self.items) @ self._vectors)
        return else_popular(profiles @ self._vectors.T, known[:, np.newaxis] & self._known, self._positives)


def _unit(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of unit length, and which are not zero."""
    lengths = np.linalg.norm(vectors, axis=1)
    return vectors / np.where(lengths > 0, lengths, 1)[:, np.newaxis], lengths > 0
