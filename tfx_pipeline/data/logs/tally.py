"""Counts gathered by parallel workers, merged without loss."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

Key = tuple[str, ...]
MAX_TEXTS = 50
"""That are kept by key."""


@dataclasses.dataclass
class Tally:
    """Sums, smallest and largest values, and the first texts by key. Merging is associative and commutative."""

    counts: Counter[Key] = dataclasses.field(default_factory=Counter)
    smallest: dict[Key, int] = dataclasses.field(default_factory=dict)
    largest: dict[Key, int] = dataclasses.field(default_factory=dict)
    texts: dict[Key, list[str]] = dataclasses.field(default_factory=dict)

    def add(self, *key: str, count: int = 1) -> None:
        """Adds `count` to the sum of `key`; a count of 0 leaves no entry."""
        if count:
            self.counts[key] += count

    def range(self, *key: str, low: int, high: int) -> None:
        """Widens the range of `key` to hold `low` and `high`."""
        self.smallest[key] = min(low, self.smallest.get(key, low))
        self.largest[key] = max(high, self.largest.get(key, high))

    def show(self, *key: str, text: str) -> None:
        """Keeps the text for `key` if it is among the first `MAX_TEXTS` in sorted order."""
        self._keep(key, [text])

    def _keep(self, key: Key, texts: Iterable[str]) -> None:
        kept = self.texts.setdefault(key, [])
        # Most texts of a long log come after those that are kept.
        if new := [text for text in texts if len(kept) < MAX_TEXTS or text < kept[-1]]:
            self.texts[key] = sorted({*kept, *new})[:MAX_TEXTS]

    def merge(self, other: Tally) -> None:
        """Adds `other` to this one."""
        self.counts.update(other.counts)
        for key, low in other.smallest.items():
            self.range(*key, low=low, high=other.largest[key])
        for key, texts in other.texts.items():
            self._keep(key, texts)

    def under(self, *prefix: str) -> dict[str, int]:
        """Sums of the keys that are `prefix` and one part more, by that part, in sorted order."""
        size = len(prefix)
        return {k[size]: n for k, n in sorted(self.counts.items()) if k[:size] == prefix and len(k) == size + 1}

    def to_json(self) -> str:
        """JSON that `from_json` reads."""
        parts: tuple[Mapping[Key, Any], ...] = (self.counts, self.smallest, self.largest, self.texts)
        return json.dumps([sorted([list(key), value] for key, value in part.items()) for part in parts])

    @classmethod
    def from_json(cls, text: str) -> Tally:
        """The tally that `to_json` wrote."""
        counts, smallest, largest, texts = ({tuple(key): value for key, value in part} for part in json.loads(text))
        return cls(Counter(counts), smallest, largest, texts)


class TallyingDoFn(beam.DoFn):
    """A DoFn that counts into `self.tally` and sends it to the output `TALLY` once a bundle."""

    TALLY = "tally"

    def start_bundle(self) -> None:
        """Begins an empty tally."""
        self.tally = Tally()

    def finish_bundle(self) -> Iterable[beam.pvalue.TaggedOutput]:
        """Emits what the bundle counted."""
        yield beam.pvalue.TaggedOutput(self.TALLY, GlobalWindows.windowed_value(self.tally))


class MergeTallies(beam.CombineFn):
    """Tallies -> one tally."""

    def create_accumulator(self) -> Tally:  # noqa: D102
        return Tally()

    def add_input(self, accumulator: Tally, element: Tally) -> Tally:  # noqa: D102
        accumulator.merge(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Tally]) -> Tally:  # noqa: D102
        total = Tally()
        for accumulator in accumulators:
            total.merge(accumulator)
        return total

    def extract_output(self, accumulator: Tally) -> Tally:  # noqa: D102
        return accumulator
