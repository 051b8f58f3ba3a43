"""Retrievers without a model, on logs small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tfx_pipeline.evaluation.retrieval.conftest import Request
from tfx_pipeline.data.content.table import ContentMatrix, Coverage, ItemContentTable
from tfx_pipeline.evaluation.requests import places, read_requests
from tfx_pipeline.evaluation.retrieval import co_occurrence
from tfx_pipeline.evaluation.retrieval.co_occurrence import CoOccurrence
from tfx_pipeline.evaluation.retrieval.content_neighbours import ContentNeighbours
from tfx_pipeline.evaluation.retrieval.popularity import Popularity
from tfx_pipeline.evaluation.retrieval.train_items import read_train_items

ITEMS = list("abcdefgh")
TRAIN = [
    Request("u", 1, "", "a", "h"),
    Request("u", 2, "a", "b", "h"),
    Request("v", 1, "", "b"),
    # An item that the catalogue lacks.
    Request("v", 2, "bz", "c", "h"),
    Request("w", 1, "ab", "", "h"),
    Request("x", 1, "", "d"),
    Request("x", 3, "d", "d"),
]


def _lists(retriever, write, *histories: str, k: int = 8, left_out: str = "") -> list[str]:
    files = write("asked", [Request("q", 9, history, "a") for history in histories])
    (asked,) = read_requests(files, places(ITEMS))
    out = np.array([ITEMS.index(item) for item in left_out], int)
    found = retriever.retrieve(asked, [out] * len(histories), k)
    return ["".join(ITEMS[row] for row in rows if row >= 0) for rows in found.rows]


@pytest.fixture
def train(write):
    return read_train_items(write("train", TRAIN), ITEMS)


def test_train_counts_positives_and_who_had_what(train):
    assert train.positives.tolist() == [1, 2, 1, 2, 0, 0, 0, 0]
    owned = {"".join(ITEMS[row] for row in np.flatnonzero(own)) for own in train.owners.toarray()}
    assert owned == {"ab", "bc", "d"}
    assert len(train.owners.toarray()) == 4


def test_popularity_is_that_of_positives_and_ties_stand_in_the_catalogue_s_order(train, write):
    assert _lists(Popularity(train), write, "a", "") == ["bdacefgh"] * 2
    assert _lists(Popularity(train), write, "a", k=3, left_out="bd") == ["ace"]


def test_co_occurrence_is_the_cosine_of_users(train, write):
    neighbours = CoOccurrence(train).neighbours.toarray()
    # a: u, w. b: u, v, w. c: v.
    assert neighbours[0, 1] == neighbours[1, 0] == pytest.approx(2 / np.sqrt(2 * 3))
    assert neighbours[1, 2] == pytest.approx(1 / np.sqrt(3 * 1))
    assert neighbours[0, 2] == 0 and not neighbours.diagonal().any()
    # Of a history of b first a, then c, then the others by popularity.
    assert _lists(CoOccurrence(train), write, "b", "", "zz") == ["acbdefgh", "bdacefgh", "bdacefgh"]


def test_co_occurrence_in_blocks_is_the_whole_product(write, monkeypatch):
    rng = np.random.default_rng(4)
    log = [Request(f"u{n % 9}", n, "".join(rng.choice(ITEMS, 3)), str(rng.choice(ITEMS))) for n in range(40)]
    train = read_train_items(write("train", log), ITEMS)
    owners = train.owners.toarray()
    expected = owners.T @ owners / np.sqrt(np.outer(owners.sum(axis=0), owners.sum(axis=0)))
    np.fill_diagonal(expected, 0)
    monkeypatch.setattr(co_occurrence, "_MOST_ENTRIES", 3 * len(ITEMS))
    np.testing.assert_allclose(CoOccurrence(train).neighbours.toarray(), expected, rtol=1e-5)
    monkeypatch.setattr(co_occurrence, "_MOST_NEIGHBOURS", 2)
    few = CoOccurrence(train).neighbours.toarray()
    assert (few > 0).sum(axis=1).max() == 2
    np.testing.assert_allclose(few.sum(axis=1), np.sort(expected, axis=1)[:, -2:].sum(axis=1), rtol=1e-5)


def test_nothing_after_the_train_split_is_counted(train, write):
    """A pair that stands in eval and test alone is none, though their files lie beside those of train."""
    later = [Request("u", 50, "ab", "g"), Request("u", 60, "abg", "f")]
    write("eval", later), write("test", later)
    for retriever in (CoOccurrence(train), Popularity(train)):
        (found,) = _lists(retriever, write, "a")
        # As without any of it: e to h were nobody's in train.
        assert found.endswith("efgh")
    assert CoOccurrence(train).neighbours.toarray()[:, [5, 6]].sum() == 0
    # The same files as train do change it, so that the test can fail.
    leaked = read_train_items([*write("train", TRAIN), *write("test", later)], ITEMS)
    assert CoOccurrence(leaked).neighbours.toarray()[:, [5, 6]].sum() > 0


def _content(**modalities: dict[str, list[float]]) -> ItemContentTable:
    tables = {}
    for name, vectors in modalities.items():
        width = len(next(iter(vectors.values())))
        rows = np.array([vectors.get(item, [0.0] * width) for item in ITEMS])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        tables[name] = ContentMatrix(
            vectors=(rows / np.where(lengths > 0, lengths, 1)).astype(np.float16),
            present=lengths[:, 0] > 0,
            storage_dtype="float16",
            source="by hand",
            source_width=width,
            basis=None,
            explained_variance=None,
            coverage=Coverage(len(ITEMS), len(vectors), len(ITEMS) - len(vectors), 0, 0),
        )
    return ItemContentTable(ITEMS, tables)


def test_content_finds_cold_items_by_the_cosine_to_the_mean_of_the_history(train, write):
    text = {"a": [1, 0], "b": [0, 1], "e": [1, 1], "f": [-1, 0.1], "c": [1, 0.1]}
    image = {"g": [1, 0], "h": [0.9, 0.1], "a": [0, 1]}
    content = _content(text=text, image=image)
    retriever = ContentNeighbours(content, train, "text")
    # e points where the mean of a and b does; then c, a, b; f points away; d, g, h have no text: by popularity.
    (found,) = _lists(retriever, write, "ab")
    assert found[0] == "e" and found[:4].endswith("b") and set(found[:4]) == set("ecab") and found[4:] == "fdgh"
    # A history that has no text knows nothing: popularity.
    assert _lists(retriever, write, "d", "", "z") == ["bdacefgh"] * 3
    # All modalities joined: what is near in either is near.
    (joined,) = _lists(ContentNeighbours(content, train), write, "ag")
    assert set(joined[:4]) == {"a", "g", "h", "c"} and joined[-1] == "d"
