"""What a load run found, as figures and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50, 95, 99)


@dataclasses.dataclass(frozen=True)
class WireTotals:
    """Calls of one signature that were answered; a request may take several, and retries count.

    Attributes:
        calls: how many.
        request_bytes, answer_bytes: of their bodies, before compression.
    """

    calls: int
    request_bytes: int
    answer_bytes: int


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """The outcome of every request of a run; the warm-up is no part of it.

    Attributes:
        seconds: from the first request to the last answer.
        latencies: float64 [answered], seconds. In a closed loop from the call to the ranking; in an open loop from the
            moment at which the request was due, so that requests which wait for a slow server count in full.
        lateness: float64 [requests], seconds between the moment a request was due and its call; zeros in a closed loop.
        errors: requests without a ranking, by code.
        unsent: requests of an open loop that were due and never sent, as the time was over.
        versions: answers by model version.
        wire: by signature.
        checked: answers whose right scores were known.
        wrong: those of them with other scores.
        largest_difference: between a score and the right one.
        examples: sentences about the first wrong answers and errors.
        generator_cpu: processor seconds of this process per second. From 0.9 the figures are those of the generator:
            Python runs one thread at a time.
        interrupted: the run was ended by Ctrl-C before it had sent everything.
    """

    seconds: float
    latencies: NDArray[np.float64]
    lateness: NDArray[np.float64]
    errors: Mapping[str, int]
    unsent: int
    versions: Mapping[int, int]
    wire: Mapping[str, WireTotals]
    checked: int
    wrong: int
    largest_difference: float
    examples: tuple[str, ...]
    generator_cpu: float
    interrupted: bool

    @property
    def answered(self) -> int:
        """Requests with a ranking."""
        return len(self.latencies)

    @property
    def failed(self) -> int:
        """Requests without one."""
        return sum(self.errors.values())

    @property
    def qps(self) -> float:
        """Rankings per second."""
        return self.answered / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Everything but the single latencies; times in milliseconds, bytes per answered request."""
        answered = max(self.answered, 1)
        return {
            "requests": self.answered + self.failed,
            "answered": self.answered,
            "errors": dict(self.errors),
            "unsent": self.unsent,
            "seconds": round(self.seconds, 3),
            "qps": round(self.qps, 2),
            "latency_ms": latency_figures(self.latencies),
            "late_ms": latency_figures(self.lateness),
            "request_bytes": round(sum(total.request_bytes for total in self.wire.values()) / answered),
            "answer_bytes": round(sum(total.answer_bytes for total in self.wire.values()) / answered),
            "wire": {name: dataclasses.asdict(total) for name, total in sorted(self.wire.items())},
            "versions": {str(version): count for version, count in sorted(self.versions.items())},
            "checked": self.checked,
            "wrong_scores": self.wrong,
            "largest_difference": self.largest_difference,
            "examples": list(self.examples),
            "generator_cpu": round(self.generator_cpu, 3),
            "interrupted": self.interrupted,
        }


def latency_figures(seconds: NDArray[np.float64]) -> dict[str, float] | None:
    """Percentiles, maximum and mean in milliseconds; None where there is nothing to take them of."""
    if not len(seconds):
        return None
    figures = {f"p{percent}": float(np.percentile(seconds, percent)) for percent in PERCENTILES}
    figures |= {"max": float(seconds.max()), "mean": float(seconds.mean())}
    return {name: round(1000 * value, 3) for name, value in figures.items()}
