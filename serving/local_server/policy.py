"""Which of the versions in a base path are served."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from serving.local_server.errors import LocalServerError

# Versions are int64 in every message.
LARGEST_VERSION = 2**63 - 1


def is_version(digits: str) -> bool:
    """Whether a number in decimal digits, of any length, can be a version's."""
    # The length first: Python makes no number of some thousand digits.
    significant = digits.lstrip("0")
    return len(significant) <= len(str(LARGEST_VERSION)) and int(significant or 0) <= LARGEST_VERSION


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """TensorFlow Serving's `model_version_policy`.

    Attributes:
        latest: this many of the highest numbers; None for no such bound.
        specific: only these numbers; None for any.
    """

    latest: int | None = 1
    specific: frozenset[int] | None = None

    @classmethod
    def parse(cls, text: str) -> VersionPolicy:
        """The policy that `latest`, `latest:2`, `all` or `3,5` names.

        Raises:
            LocalServerError: it is none of these.
        """
        if text == "all":
            return cls(latest=None)
        if text == "latest":
            return cls()
        kind, _, count = text.partition(":")
        if kind == "latest" and count.isdecimal() and is_version(count) and int(count) > 0:
            return cls(latest=int(count))
        numbers = [part.strip() for part in text.split(",")]
        if all(number.isdecimal() and is_version(number) for number in numbers):
            return cls(latest=None, specific=frozenset(map(int, numbers)))
        raise LocalServerError(f"versions must be 'latest', 'latest:N', 'all' or numbers as in '3,5'; got {text!r}")

    def select(self, numbers: Iterable[int]) -> set[int]:
        """Those of `numbers` that are to be served."""
        chosen = [number for number in numbers if self.specific is None or number in self.specific]
        return set(chosen if self.latest is None else sorted(chosen)[-self.latest :])
