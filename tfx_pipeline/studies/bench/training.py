"""`dmf bench training`: candidates per second through the training step of every model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from rich.table import Table

from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.console import console, lines
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.studies.bench import workload
from tfx_pipeline.studies.bench.machine import Machine, machine
from tfx_pipeline.studies.bench.timing import interleaved
from tfx_pipeline.training.freed_memory import freed_memory_kept
from tfx_pipeline.training.fused_adam import FusedAdam

ITEMS, USERS = 10_000, 5_000
HISTORY = 50
REQUESTS_PER_BATCH = 256
POINTWISE, GROUPED = 1, 16
# Different batches that take turns, kept in memory: the input pipeline is not what is measured.
_BATCHES = 8


@dataclass(frozen=True)
class StepResult:
    """The training step of one model with one kind of requests.

    Attributes:
        model: registered name.
        candidates_per_request: 1 or 16.
        candidates_per_second, examples_per_second: through the step; an example is a request.
        milliseconds_per_step: the median.
    """

    model: str
    candidates_per_request: int
    candidates_per_second: float
    examples_per_second: float
    milliseconds_per_step: float


@dataclass(frozen=True)
class TrainingReport(JsonRecord):
    """What `dmf bench training` measured, as `--json` prints it.

    Attributes:
        results: one per model and kind of requests.
        grouped_vs_pointwise: ratio of candidates per second, by model.
        history: items in each.
        requests_per_batch: of both kinds.
        machine: that was measured on.
    """

    results: Sequence[StepResult]
    grouped_vs_pointwise: Mapping[str, float]
    history: int
    requests_per_batch: int
    machine: Machine


def bench_training(models: Sequence[str], *, seconds: float) -> TrainingReport:
    """Times the training step of models on pointwise requests (one candidate) and on grouped ones (16).

    Both kinds have as many requests in a batch, `REQUESTS_PER_BATCH`.

    A step is what `fit` runs for a batch: the compiled forward pass, loss, gradients and Adam's update. Models have
    their default hyper-parameters. All models take turns with both kinds of batches.

    Args:
        models: registered names.
        seconds: how long to measure.
    """
    # As the pipeline trains.
    with freed_memory_kept():
        with console().status("compiling the training steps"):
            steps = {
                (name, candidates): train_step(name, candidates)
                for name in models
                for candidates in (POINTWISE, GROUPED)
            }
        labels = {f"{name} {candidates}": step for (name, candidates), step in steps.items()}
        timings = interleaved(labels, seconds=seconds, title="training steps")
    results = []
    for name, candidates in steps:
        timing = timings[f"{name} {candidates}"]
        per_second = 1000 * REQUESTS_PER_BATCH / timing.median
        results.append(StepResult(name, candidates, per_second * candidates, per_second, timing.median))
    speed = {(entry.model, entry.candidates_per_request): entry.candidates_per_second for entry in results}
    return TrainingReport(
        results=results,
        grouped_vs_pointwise={name: speed[name, GROUPED] / speed[name, POINTWISE] for name in models},
        history=HISTORY,
        requests_per_batch=REQUESTS_PER_BATCH,
        machine=machine(),
    )


def train_step(name: str, candidates: int) -> Callable[[], float]:
    """A function that trains a new model on the next of a few batches and returns the loss."""
    schema = workload.schema(items=ITEMS, users=USERS)
    model: RankingModel = workload.model(name, {}, schema)
    requests = _BATCHES * REQUESTS_PER_BATCH
    inputs = workload.requests(schema, batch=requests, candidates=candidates, history=HISTORY)
    labels = np.random.default_rng(1).integers(0, 2, (requests, candidates)).astype(np.float32)
    # As the pipeline compiles it: batches differ in shape, so there is no XLA on a CPU. `train_function` is what `fit`
    # calls for a step.
    model.compile(FusedAdam(), jit_compile=False)
    model.make_train_function()
    batches = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(REQUESTS_PER_BATCH).cache().repeat()
    iterator = iter(batches)
    return lambda: float(model.train_function(iterator)["loss"])


def training_table(report: TrainingReport) -> Table:
    """What `bench_training` returns, for a reader."""
    table = Table(
        title=f"training, batches of {report.requests_per_batch} requests, history of {report.history}",
        title_justify="left",
    )
    table.add_column("model")
    for header in (f"N = {POINTWISE}", f"N = {GROUPED}"):
        table.add_column(lines(header, "ms per step"), justify="right")
        table.add_column(lines("", "candidates/s"), justify="right")
    table.add_column(lines("grouped vs", "pointwise"), justify="right")
    entries = {(entry.model, entry.candidates_per_request): entry for entry in report.results}
    for name, ratio in report.grouped_vs_pointwise.items():
        cells = []
        for candidates in (POINTWISE, GROUPED):
            entry = entries[name, candidates]
            cells += [f"{entry.milliseconds_per_step:.1f}", f"{entry.candidates_per_second:,.0f}"]
        table.add_row(name, *cells, f"{ratio:.1f}x")
    return table
