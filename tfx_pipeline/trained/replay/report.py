"""What a replay has found: per stage of the way of a request, and per request that differs."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class StageCounts:
    """How one stage came out over all requests.

    Attributes:
        requests: that have the stage.
        different: of those, that differ by more than the tolerance.
        largest_difference: absolute and, for values beyond 1, relative; 0 where no difference is a number.
    """

    requests: int = 0
    different: int = 0
    largest_difference: float = 0.0


@dataclasses.dataclass(frozen=True)
class DifferentRequest:
    """A request whose two answers part.

    Attributes:
        request: its number in the file, from 0.
        signature: that it asks.
        captured_version: the version that answered when it was captured; None where the file does not say.
        stage: the first that differs, one of `tfx_pipeline.trained.replay.stages.STAGES`.
        difference: absolute and, for values beyond 1, relative; None where there is no number for it.
        detail: what differs.
    """

    request: int
    signature: str
    captured_version: int | None
    stage: str
    difference: float | None
    detail: str


@dataclasses.dataclass(frozen=True)
class ReplayReport:
    """Captured requests, scored again in Keras and through the exported model.

    Attributes:
        model: path of the exported version.
        file: of the requests.
        tolerance: allowed difference, absolute and, for values beyond 1, relative.
        count: number of requests.
        stages: by name, in the order of a request's way.
        requests: those that differ, in the order of the file.
    """

    model: str
    file: str
    tolerance: float
    count: int
    stages: dict[str, StageCounts]
    requests: list[DifferentRequest]

    @property
    def equal(self) -> bool:
        """Whether no request differs at any stage by more than the tolerance."""
        return not self.requests

    def to_json(self) -> dict[str, Any]:
        """What `dmf replay --json` prints."""
        return {
            "model": self.model,
            "file": self.file,
            "tolerance": self.tolerance,
            "equal": self.equal,
            "count": self.count,
            "stages": {stage: dataclasses.asdict(counts) for stage, counts in self.stages.items()},
            "requests": [dataclasses.asdict(request) for request in self.requests],
        }
