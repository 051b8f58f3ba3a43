"""How near a candidate's content is to the items of its request's history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfx_pipeline.data.content.table import ItemContentTable

# The least that a cosine can be: what cannot be compared is last.
NOT_COMPARABLE = -1.0
# So many cosines are made at a time, in float32.
_AT_ONCE = 4_000_000


class ContentSimilarity:
    """Compares candidates with histories, by cosine, in each modality.

    Args:
        table: content of the catalogue.
    """

    def __init__(self, table: ItemContentTable):
        self._ids = pd.Index([item.encode() for item in table.item_ids], dtype=object)
        self._modalities = list(table.modalities.values())

    def largest(
        self, items: np.ndarray, candidates: np.ndarray, history: np.ndarray, lengths: Sequence[int] | np.ndarray
    ) -> list[np.ndarray]:
        """The largest cosine of each candidate to an item of its history.

        Args:
            items: bytes objects [n], candidates of all requests behind one another.
            candidates: integers [B], how many each request has.
            history: bytes objects [h], histories of all requests behind one another.
            lengths: integers [B], how many items each has.

        Returns:
            Of each modality in the table's order float32 [n]; `NOT_COMPARABLE` where the candidate or all of the
            history has no content.
        """
        rows, history_rows = (
            _padded(self._ids.get_indexer(items), candidates),
            _padded(self._ids.get_indexer(history), np.asarray(lengths)),
        )
        real = np.arange(rows.shape[1]) < candidates[:, np.newaxis]
        step = max(1, _AT_ONCE // max(1, rows.shape[1] * history_rows.shape[1]))
        found = []
        for matrix in self._modalities:
            cosines = np.full(rows.shape, NOT_COMPARABLE, np.float32)
            for start in range(0, len(rows) if history_rows.shape[1] else 0, step):
                part, past = rows[start : start + step], history_rows[start : start + step]
                known, past_known = ((ids >= 0) & matrix.present[ids] for ids in (part, past))
                products = matrix.vectors[part].astype(np.float32) @ (
                    matrix.vectors[past].astype(np.float32).transpose(0, 2, 1)
                )
                comparable = known[:, :, np.newaxis] & past_known[:, np.newaxis, :]
                cosines[start : start + step] = np.where(comparable, products, NOT_COMPARABLE).max(axis=2)
            found.append(cosines[real])
        return found


def _padded(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Values of all rows behind one another as [B, longest]; -1 is padding."""
    longest = int(lengths.max(initial=0))
    padded = np.full((len(lengths), longest), -1, np.int64)
    padded[np.arange(longest) < lengths[:, np.newaxis]] = values
    return padded
