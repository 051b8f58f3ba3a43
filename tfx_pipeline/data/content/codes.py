"""Semantic ids: a few small whole numbers per item, made of its content.

Residual k-means: level 1 clusters the content vectors, and each further level the differences that the levels before
it leave to their centres. Items of like content share their first codes.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from tfx_pipeline.config.content import Codes
from tfx_pipeline.errors import DataError

# Centres are fitted on so many items for each of them at most, in so many rounds, as is usual for quantisers: more
# items and rounds change the error in its third digit.
_ITEMS_PER_CENTRE = 256
_ROUNDS = 25
_SEED = 42
_BLOCK = 65_536


@dataclass(frozen=True)
class LevelReport:
    """One level of the codes."""

    used: int
    """codes that an item has"""
    largest: int
    """items of the code that most items have"""
    error: float
    """mean squared length that this level and those before it leave over, of vectors of length 1"""


@dataclass(frozen=True)
class CodesReport:
    """What the codes of a catalogue are like, in numbers of items."""

    items: int
    """in the catalogue"""
    coded: int
    """with codes: those that have content of the modality"""
    distinct: int
    """different codes, all levels taken together"""
    colliding: int
    """items that share the codes of all levels with another"""
    levels: tuple[LevelReport, ...]


@dataclass(frozen=True, eq=False)
class CodeTable:
    """The codes of every item of the catalogue."""

    values: np.ndarray
    """int32 [items, levels], from 1 to `size`; 0 at each level of an item without content"""
    size: int
    """of each level"""
    of: str
    """modality that they are made of"""
    report: CodesReport
    centres: np.ndarray | None = None
    """float64 [levels, size, width], by which other items get codes; None where an earlier version made the table"""

    @cached_property
    def checksum(self) -> str:
        """sha256 of values and size."""
        digest = hashlib.sha256(f"{self.values.dtype.str}{self.values.shape}{self.size}".encode())
        digest.update(np.ascontiguousarray(self.values).data)
        return digest.hexdigest()


def check_size(codes: Codes, coded: int) -> None:
    """Refuses more codes than items have content to make them of.

    Args:
        codes: section `content.codes` of the configuration.
        coded: items with content of the modality, at most.

    Raises:
        DataError: there are fewer of them.
    """
    if coded < codes.size:
        raise DataError(
            f"content.codes.size: {codes.size} codes cannot be made of {coded} items with content of '{codes.of}'; "
            f"give at most {coded}"
        )


def fit_codes(vectors: np.ndarray, present: np.ndarray, codes: Codes) -> CodeTable:
    """Fits centres level by level and gives each item its nearest ones; the same input gives the same codes.

    Args:
        vectors: float16 or float32 [items, width], of length 1 where `present`.
        present: bool [items].
        codes: section `content.codes` of the configuration.

    Raises:
        DataError: fewer items with content than codes.
    """
    coded = np.flatnonzero(present)
    check_size(codes, len(coded))
    values = np.zeros((len(vectors), codes.levels), np.int32)
    left_over = vectors[coded].astype(np.float32)
    levels, books = [], []
    for level in range(codes.levels):
        centres, nearest = _cluster(left_over, codes.size, _SEED + level)
        books.append(centres)
        left_over -= centres[nearest].astype(np.float32)
        values[coded, level] = nearest + 1
        counts = np.bincount(nearest, minlength=codes.size)
        error = float(np.einsum("nd,nd->n", left_over, left_over).mean(dtype=np.float64))
        levels.append(LevelReport(int((counts > 0).sum()), int(counts.max()), error))
    return CodeTable(values, codes.size, codes.of, _report(values, levels), np.stack(books))


def assign_codes(vectors: np.ndarray, present: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Codes int32 [items, levels] by the centres of an earlier fit; 0 at each level where not present.

    Args:
        vectors: float16 or float32 [items, width], of length 1 where `present`.
        present: bool [items].
        centres: float64 [levels, size, width].
    """
    coded = np.flatnonzero(present)
    values = np.zeros((len(vectors), len(centres)), np.int32)
    for first in range(0, len(coded), _BLOCK):
        rows = coded[first : first + _BLOCK]
        left_over = vectors[rows].astype(np.float32)
        for level, book in enumerate(centres):
            products = left_over.astype(np.float64) @ book.T
            nearest = np.argmin(np.einsum("kd,kd->k", book, book) - 2 * products, axis=1)
            values[rows, level] = nearest + 1
            left_over -= book[nearest].astype(np.float32)
    return values


def recounted(table: CodeTable, values: np.ndarray) -> CodeTable:
    """The table with other codes by the same centres; the error of a level is that of the fit."""
    levels = []
    for level, of_fit in enumerate(table.report.levels):
        counts = np.bincount(values[:, level], minlength=table.size + 1)[1:]
        levels.append(LevelReport(int((counts > 0).sum()), int(counts.max(initial=0)), of_fit.error))
    return replace(table, values=values, report=_report(values, levels))


def _report(values: np.ndarray, levels: list[LevelReport]) -> CodesReport:
    coded = values[values[:, 0] > 0]
    _, counts = np.unique(coded, axis=0, return_counts=True)
    return CodesReport(
        items=len(values),
        coded=len(coded),
        distinct=len(counts),
        colliding=int(counts[counts > 1].sum()),
        levels=tuple(levels),
    )


def _cluster(rows: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres float64 [size, width], and of each of the rows [n, width] the nearest one, int [n]."""
    most = size * _ITEMS_PER_CENTRE
    chosen = np.random.default_rng(seed).choice(len(rows), most, replace=False) if len(rows) > most else slice(None)
    # In float64: threads add up in any order, and what that rounds must not decide between two centres.
    means = KMeans(size, n_init=1, max_iter=_ROUNDS, random_state=seed)
    with warnings.catch_warnings():
        # Fewer different rows than centres, or rounds that ended early: the report says what came of it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means.fit(rows[chosen].astype(np.float64))
    blocks = (rows[start : start + _BLOCK].astype(np.float64) for start in range(0, len(rows), _BLOCK))
    nearest = np.concatenate([means.predict(block) for block in blocks])
    return means.cluster_centers_, nearest
