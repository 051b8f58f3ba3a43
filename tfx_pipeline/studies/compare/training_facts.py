"""What is kept of a finished training beside its rows, and what a report tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.studies.bench.machine import Machine


@dataclass(frozen=True)
class Parameters:
    """Trainable numbers of a model.

    Attributes:
        trainable: in all.
        embeddings: in tables of items, users and columns.
        rest: all others.
    """

    trainable: int
    embeddings: int
    rest: int


@dataclass(frozen=True)
class Timed:
    """When and where a training was timed.

    Attributes:
        at: ISO 8601 in UTC.
        machine: that trained.
    """

    at: str
    machine: Machine


@dataclass(frozen=True)
class TrainingFacts(JsonRecord):
    """How a training went, as `result.json` has it.

    Attributes:
        label: of the model, with the modalities it was given.
        seed: of the training.
        params: all hyper-parameters.
        history: metrics by epoch.
        best_epoch: 0-based.
        requests_per_second: of steady steps; None where it could not be measured.
        seconds: of a training that was gone on with, those of its last process.
        timed: when, and on what machine.
        parameters: trainable numbers.
    """

    label: str
    seed: int
    params: Mapping[str, Any]
    history: Sequence[Mapping[str, float | None]]
    best_epoch: int
    requests_per_second: float | None
    seconds: float
    timed: Timed
    parameters: Parameters
