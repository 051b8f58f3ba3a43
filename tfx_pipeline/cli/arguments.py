"""Types of command-line arguments: each takes the text that was given and says what is wrong with it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def comma_separated(text: str) -> list[str]:
    """A,B,C, with or without spaces between them."""
    return [name.strip() for name in text.split(",")]


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def counts(text: str) -> list[int]:
    """Whole numbers of at least 1, with commas between them."""
    return [count(each) for each in comma_separated(text)]


def different_counts(text: str) -> list[int]:
    """As `counts`, each number once."""
    return list(dict.fromkeys(counts(text)))


def identifier(text: str) -> str:
    """An id, or several with commas between them: UTF-8, as every id of the logs is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"must be UTF-8, got {os.fsencode(text)!r}") from None
    return text


def item_ids(text: str) -> list[str]:
    """A,B,C; an empty text is an empty list."""
    return [item for item in identifier(text).split(",") if item]


def positive(text: str) -> float:
    """A finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return number


def weights(text: str) -> list[float]:
    """Finite numbers above 0, with commas between them."""
    return [positive(each) for each in comma_separated(text)]


def output_file(text: str) -> Path:
    """A file to write after long work: what can never be written is refused before it."""
    file = Path(text)
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file to write, got the folder {text!r}")
    above = next(folder for folder in file.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise argparse.ArgumentTypeError(f"must be a file to write, got {text!r}: {above} is no folder to write into")
    return file


def port(text: str) -> int:
    """A port; 0 is any that is free."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, got {text!r}")
    return int(text)


def label(text: str) -> tuple[str, int]:
    """NAME=VERSION."""
    name, _, version = text.partition("=")
    # Versions are int64; the length is looked at first, since Python makes no number of some thousand digits.
    if not name or not version.isdecimal() or len(version) > 19 or int(version) >= 2**63:
        raise argparse.ArgumentTypeError(f"must be NAME=VERSION as in stable=3, got {text!r:.60}")
    return name, int(version)
