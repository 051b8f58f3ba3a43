"""Texts as bags of hashed words and of pieces of words, for which no vocabulary is needed."""

from __future__ import annotations

import functools
import itertools
import re
import sys
import unicodedata
import zlib
from collections.abc import Sequence

import numpy as np

# Of a longer run, such as an address, the beginning stands for it.
_LONGEST_WORD = 64


class Ngrams:
    """Hashes words and their n-grams to rows 1 to `buckets`; row 0 is padding.

    A word is a run of letters, their marks and digits, in lower case and in the form NFKC of Unicode. Beside it stand
    its n-grams, with `<` and `>` at its ends, so that words that are alike have rows in common.

    Args:
        lengths: of the n-grams.
        buckets: rows, without that of padding.
        max_words: of a text that count.
    """

    def __init__(self, lengths: Sequence[int], buckets: int, max_words: int):
        self._lengths, self._buckets, self._max_words = tuple(lengths), buckets, max_words
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, text: str) -> list[np.ndarray]:
        """int32 [pieces] of each of its words, the word first; none of a text without letters and digits."""
        return [self._of_word(word) for word in self.words(text)[: self._max_words]]

    def is_cut(self, text: str) -> bool:
        """Whether it has more words than count."""
        return len(self.words(text)) > self._max_words

    @staticmethod
    def words(text: str) -> list[str]:
        """Its words in lower case."""
        return _word().findall(unicodedata.normalize("NFKC", text.casefold()))

    def _of_word(self, word: str) -> np.ndarray:
        found = self._known.get(word)
        if found is None:
            whole = f"<{word[:_LONGEST_WORD]}>"
            pieces = [whole[at : at + size] for size in self._lengths for at in range(len(whole) - size + 1)]
            # A piece that is the whole stands once.
            rows = [zlib.crc32(piece.encode()) % self._buckets + 1 for piece in dict.fromkeys([whole, *pieces])]
            found = self._known[word] = np.array(rows, np.int32)
        return found


@functools.cache
def _word() -> re.Pattern[str]:
    """Python's own class of letters leaves out the marks, which are the vowels of Hindi, Tamil, Thai and others."""
    marks = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)).startswith("M"))
    runs = itertools.groupby(enumerate(marks), lambda pair: pair[1] - pair[0])
    ends = ([code for _, code in run] for _, run in runs)
    ranges = "".join(f"{chr(codes[0])}-{chr(codes[-1])}" for codes in ends)
    return re.compile(f"[\\w{ranges}]+")


def padded(bags: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """int32 [bags, longest]: the rows of each bag, zeros behind them."""
    lengths = [sum(map(len, bag)) for bag in bags]
    found = np.zeros((len(bags), max([1, *lengths])), np.int32)
    for row, bag in enumerate(bags):
        if bag:
            found[row, : lengths[row]] = np.concatenate(bag)
    return found
