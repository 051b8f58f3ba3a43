"""The approximate index against exact products by NumPy: what it finds, what it refuses, what damage does to it."""

from __future__ import annotations

import builtins
import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving import approximate_index
from serving.approximate_index import ApproximateIndex, MissingLibrary, UnusableIndex, catalogue_digest, read_record
from serving.export.approximate_index import IndexOptions, recall, write_index

ITEMS, WIDTH, AT = 3000, 16, 50
IDS = [f"ï{number}" for number in range(ITEMS)]


def _unit(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VECTORS = _unit(ITEMS, 1)
# As those of the two towers: of another length than 1.
USERS = 20 * _unit(100, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "17"
    write_index(folder, IDS, VECTORS, USERS, at=AT, ranked_candidates=100)
    return folder


@pytest.fixture(scope="module")
def index(folder):
    return ApproximateIndex.load(folder)


def _exact(users: np.ndarray, k: int, exclude=()) -> tuple[np.ndarray, list[list[str]]]:
    products = users @ VECTORS.T
    for row, items in enumerate(exclude):
        products[row, [IDS.index(item) for item in items if item in IDS]] = -np.inf
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, order, 1), [[IDS[place] for place in row] for row in order]


def test_finds_what_an_exact_search_finds(index):
    ids, scores = index.search(USERS, AT)
    products, items = _exact(USERS, AT)
    found = np.mean([len(set(ours) & set(theirs)) / AT for ours, theirs in zip(ids.tolist(), items, strict=True)])
    # One thread makes a graph of so few items. Of 220 that several made two found less than 0.99; what one misses is a
    # few dozen items that no other leads to.
    assert found > 0.99
    assert np.isclose(scores[:, 0], products[:, 0], rtol=1e-5).mean() > 0.95
    # Every score is the product of its item.
    of_items = np.array(
        [[user @ VECTORS[IDS.index(item)] for item in row] for user, row in zip(USERS, ids, strict=True)]
    )
    np.testing.assert_allclose(scores, of_items, rtol=1e-4, atol=1e-4)
    assert (np.diff(scores) <= 0).all()
    assert (ids.dtype, scores.dtype) == (object, np.float32)


def test_the_same_vectors_give_the_same_graph(folder, index, tmp_path):
    again = write_index(tmp_path, IDS, VECTORS, USERS, at=AT, ranked_candidates=100)
    assert dataclasses.replace(again, build_seconds=index.record.build_seconds) == index.record


def test_a_user_alone_finds_what_it_finds_among_others(index):
    ids, scores = index.search(USERS, 7)
    alone = [index.search(user[None], 7) for user in USERS]
    assert [row[0].tolist() for row, _ in alone] == ids.tolist()
    np.testing.assert_array_equal(np.concatenate([row for _, row in alone]), scores)


def test_what_is_excluded_is_not_found_and_others_take_its_place(index):
    _, best = _exact(USERS[:3], 400)
    # Nothing, the best with an id that nobody has, and more than was first asked for in its place.
    exclude = [[], [*best[1][:3], "new", ""], best[2][:350]]
    ids, scores = index.search(USERS[:3], 10, exclude)
    _, items = _exact(USERS[:3], 10, exclude)
    for found, values, unwanted, expected in zip(ids.tolist(), scores, exclude, items, strict=True):
        assert len(set(found)) == 10 and not {*found} & {*unwanted, ""}
        # Another library, another graph: none misses much.
        assert len(set(found) & set(expected)) >= 8
        assert (np.diff(values) <= 0).all()


def test_a_row_is_short_only_where_nothing_is_left(index):
    _, order = _exact(USERS[:2], ITEMS)
    left = order[0][1500:1504]
    ids, scores = index.search(USERS[:2], 6, [set(IDS) - set(left), IDS])
    assert ids.tolist() == [[*left, "", ""], [""] * 6]
    assert scores[0, :4].all() and not scores[0, 4:].any() and not scores[1].any()


def test_k_may_be_the_whole_catalogue(index):
    ids, _ = index.search(USERS[:1], ITEMS)
    assert sorted(ids[0].tolist()) == sorted(IDS)


def test_of_equal_scores_the_first_in_the_catalogue(tmp_path):
    write_index(tmp_path, ["c", "a", "b", "d"], np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32), np.ones((1, 2)))
    ids, scores = ApproximateIndex.load(tmp_path).search(np.array([[1.0, 0.0]]), 4)
    assert ids.tolist() == [["c", "a", "d", "b"]]
    np.testing.assert_allclose(scores, [[1, 1, 1, 0]], atol=1e-6)


@pytest.mark.parametrize("k", [0, -1, ITEMS + 1, 2.5, True, None, "3"])
def test_refuses_a_k_that_cannot_be(index, k):
    with pytest.raises(ValueError, match=f"k must be from 1 to {ITEMS}, the items of the catalogue; got"):
        index.search(USERS, k)


@pytest.mark.parametrize(
    ("users", "exclude", "message"),
    [
        (USERS[:, :9], None, r"must be \[users, 16\], got \[100, 9\]"),
        (USERS[0], None, r"got \[16\]"),
        (np.full((1, WIDTH), np.nan), None, "finite"),
        (USERS[:3], [[], []], "for each of 3 users, got 2"),
    ],
)
def test_refuses_what_is_no_vector_of_users(index, users, exclude, message):
    with pytest.raises(ValueError, match=message):
        index.search(users, 3, exclude)


def test_nobody_finds_nothing(index):
    ids, scores = index.search(np.empty((0, WIDTH)), 3)
    assert ids.shape == scores.shape == (0, 3)


def test_threads_find_what_one_finds(index):
    alone, _ = index.search(USERS, 20)
    with ThreadPoolExecutor(8) as pool:
        rows = pool.map(lambda user: index.search(user[None], 20)[0][0].tolist(), np.tile(USERS, (4, 1)))
        assert list(rows) == 4 * alone.tolist()


def test_says_what_it_is(folder, index):
    record = read_record(folder)
    assert record == index.record
    assert (record.items, record.width, record.at, record.users, record.ranked_candidates) == (
        ITEMS,
        WIDTH,
        AT,
        100,
        100,
    )
    assert record.catalogue == catalogue_digest(IDS, VECTORS)
    assert record.library.startswith("usearch ")
    assert record.recall == pytest.approx(recall(index, VECTORS, USERS, AT)) and 0.95 < record.recall <= 1
    assert len(index) == ITEMS and str(folder) in repr(index)


def test_recall_is_the_share_that_a_poor_graph_finds(tmp_path):
    poor = write_index(
        tmp_path, IDS, VECTORS, USERS, options=IndexOptions(connectivity=2, expansion_add=2, expansion_search=1), at=AT
    )
    ids, _ = ApproximateIndex.load(tmp_path).search(USERS, AT)
    _, items = _exact(USERS, AT)
    found = np.mean([len(set(ours) & set(theirs)) / AT for ours, theirs in zip(ids.tolist(), items, strict=True)])
    assert poor.recall == pytest.approx(found, abs=1e-4) and poor.recall < 0.9


def test_is_bound_to_ids_and_vectors():
    digest = catalogue_digest(IDS, VECTORS)
    assert digest != catalogue_digest(IDS[::-1], VECTORS)
    assert digest != catalogue_digest(IDS, np.nextafter(VECTORS, 2))
    assert digest == catalogue_digest(tuple(IDS), np.asfortranarray(VECTORS))


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "18")


@pytest.mark.parametrize("file", [approximate_index.GRAPH_FILE, approximate_index.IDS_FILE])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_file_is_an_error_and_no_crash(copied, file, damage):
    path = copied / file
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 255
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(contents if damage == "changed" else contents[:-100])
    with pytest.raises(
        UnusableIndex, match="No such file" if damage == "gone" else "is damaged, or of another version"
    ):
        ApproximateIndex.load(copied)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read"), ("[]", "cannot be read"), ("{}", "format"), ('{"format": 2}', "of format 2, expected 1")],
)
def test_a_record_that_is_none_is_an_error(copied, text, message):
    (copied / approximate_index.RECORD_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(UnusableIndex, match=message):
        ApproximateIndex.load(copied)


def test_a_record_of_more_items_than_there_are_is_an_error(copied):
    record = json.loads((copied / approximate_index.RECORD_FILE).read_text(encoding="utf-8"))
    (copied / approximate_index.RECORD_FILE).write_text(json.dumps({**record, "items": 3001}), encoding="utf-8")
    with pytest.raises(UnusableIndex, match="3001 items are expected, the graph has 3000, and 3000 ids"):
        ApproximateIndex.load(copied)


def test_a_model_without_one_says_what_to_do(tmp_path):
    assert read_record(tmp_path) is None
    with pytest.raises(UnusableIndex, match=r"has no approximate index .*approximate: \{\}"):
        ApproximateIndex.load(tmp_path)


def test_a_missing_library_names_the_extra(folder, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments):
        if name.partition(".")[0] == "usearch":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingLibrary, match=r"pip install 'dmf-ranking\[retrieval\]'"):
        ApproximateIndex.load(folder)
    # What is known of it can be read all the same.
    assert read_record(folder).items == ITEMS


def test_refuses_to_write_what_is_no_catalogue(tmp_path):
    with pytest.raises(ValueError, match=r"a vector for each of 4 items, got \[3000, 16\]"):
        write_index(tmp_path, IDS[:4], VECTORS, USERS)
    with pytest.raises(ValueError, match=r"\[users, 16\], got \[100, 4\]"):
        write_index(tmp_path, IDS, VECTORS, USERS[:, :4])
    with pytest.raises(ValueError, match="line break"):
        write_index(tmp_path, ["a\nb", *IDS[1:]], VECTORS, USERS)
    assert dataclasses.asdict(IndexOptions())["connectivity"] == 16
