"""Texts as bags of hashed pieces."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from tfx_pipeline.data.encoding.ngrams import Ngrams, padded


def rows(*pieces: str, buckets: int = 1000) -> list[int]:
    return [zlib.crc32(piece.encode()) % buckets + 1 for piece in pieces]


@pytest.mark.parametrize(
    ("lengths", "text", "words"),
    [
        ([3], "Red kite!", [["<red>", "<re", "red", "ed>"], ["<kite>", "<ki", "kit", "ite", "te>"]]),
        ([], "red  KITE", [["<red>"], ["<kite>"]]),
        ([3, 4], "ab", [["<ab>", "<ab", "ab>"]]),
        ([2], "\u6771\u4eac", [["<\u6771\u4eac>", "<\u6771", "\u6771\u4eac", "\u4eac>"]]),
        ([3], "Stra\u00dfe", [["<strasse>", "<st", "str", "tra", "ras", "ass", "sse", "se>"]]),
        ([3], "... !", []),
        ([3], "", []),
    ],
)
def test_words_and_their_pieces(lengths, text, words):
    made = Ngrams(lengths, 1000, 10)
    assert [bag.tolist() for bag in made(text)] == [rows(*pieces) for pieces in words]
    assert [bag.tolist() for bag in made(text)] == [rows(*pieces) for pieces in words]


def test_rows_are_of_the_table_and_never_that_of_padding():
    made = Ngrams([3], 7, 100)
    found = np.concatenate(made(" ".join(f"word{number}" for number in range(90))))
    assert found.dtype == np.int32
    assert set(found.tolist()) == set(range(1, 8))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी किताब", ["हिन्दी", "किताब"]),
        ("தமிழ்", ["தமிழ்"]),
        ("Cafe\u0301 ＡＢＣ", ["café", "abc"]),
        ("I\u0307stanbul", ["i\u0307stanbul"]),
    ],
)
def test_marks_belong_to_their_letters(text, words):
    assert Ngrams.words(text) == words


def test_long_texts_and_long_words_are_cut():
    made = Ngrams([3], 1000, 2)
    assert len(made("one two three")) == 2
    assert made.is_cut("one two three")
    assert not made.is_cut("one two")
    assert len(made("x" * 10**6)[0]) <= 70


def test_bags_are_padded_with_zeros():
    one, other = np.array([1, 2], np.int32), np.array([3], np.int32)
    found = padded([[one, other], [], [other]])
    assert found.dtype == np.int32
    assert found.tolist() == [[1, 2, 3], [0, 0, 0], [3, 0, 0]]
    assert padded([[], []]).shape == (2, 1)
