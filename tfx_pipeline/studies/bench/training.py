"""`dmf bench training`: candidates per second through the training step of every model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from rich.table import Table

from dmf_keras.models.inputs import CANDIDATE_INDEX, HISTORY_INDEX
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
        items: that have an embedding.
        candidates_per_request: 1 or 16.
        candidates_per_second, examples_per_second: through the step; an example is a request.
        milliseconds_per_step: the median.
    """

    model: str
    items: int
    candidates_per_request: int
    candidates_per_second: float
    examples_per_second: float
    milliseconds_per_step: float


@dataclass(frozen=True)
class TrainingReport(JsonRecord):
    """What `dmf bench training` measured, as `--json` prints it.

    Attributes:
        results: one per model and kind of requests.
        row_updates: whether rows that are looked up were updated alone.
        grouped_vs_pointwise: ratio of candidates per second, by model and, of others than 10,000, number of items.
        history: items in each.
        requests_per_batch: of both kinds.
        machine: that was measured on.
    """

    results: Sequence[StepResult]
    row_updates: bool
    grouped_vs_pointwise: Mapping[str, float]
    history: int
    requests_per_batch: int
    machine: Machine


def bench_training(
    models: Sequence[str], *, seconds: float, items: Sequence[int] = (ITEMS,), rows: bool = False
) -> TrainingReport:
    """Times the training step of models on pointwise requests (one candidate) and on grouped ones (16).

    Both kinds have as many requests in a batch, `REQUESTS_PER_BATCH`.

    A step is what `fit` runs for a batch: the compiled forward pass, loss, gradients and Adam's update. Models have
    their default hyper-parameters. All models take turns with both kinds of batches.

    Args:
        models: registered names.
        seconds: how long to measure.
        items: sizes of the table of items. Batches name the same 10,000 of them, spread over the table: what a step
            costs beyond that of a small table is the table's.
        rows: whether rows that are looked up are updated alone, as with `training.row_updates`.
    """
    # As the pipeline trains.
    with freed_memory_kept():
        with console().status("compiling the training steps"):
            steps = {}
            for name in models:
                for count in items:
                    model = new_model(name, count, rows)
                    for candidates in (POINTWISE, GROUPED):
                        steps[name, count, candidates] = train_step(model, candidates)
        labels = {f"{_label(name, count)} {candidates}": step for (name, count, candidates), step in steps.items()}
        timings = interleaved(labels, seconds=seconds, title="training steps")
    results = []
    for name, count, candidates in steps:
        timing = timings[f"{_label(name, count)} {candidates}"]
        per_second = 1000 * REQUESTS_PER_BATCH / timing.median
        results.append(StepResult(name, count, candidates, per_second * candidates, per_second, timing.median))
    speed = {(_label(e.model, e.items), e.candidates_per_request): e.candidates_per_second for e in results}
    measured = dict.fromkeys(label for label, _ in speed)
    return TrainingReport(
        results=results,
        row_updates=rows,
        grouped_vs_pointwise={label: speed[label, GROUPED] / speed[label, POINTWISE] for label in measured},
        history=HISTORY,
        requests_per_batch=REQUESTS_PER_BATCH,
        machine=machine(),
    )


def _label(name: str, items: int) -> str:
    return name if items == ITEMS else f"{name}, {items:,} items"


def new_model(name: str, items: int = ITEMS, rows: bool = False) -> RankingModel:
    """A model with its default hyper-parameters, and content of `ITEMS`, ready to be trained."""
    schema = dataclasses.replace(workload.schema(items=ITEMS, users=USERS), item_rows=items + 1)
    model: RankingModel = workload.model(name, {}, schema)
    # As the pipeline compiles it: batches differ in shape, so there is no XLA on a CPU.
    model.compile(FusedAdam(rows=rows))
    model.make_train_function()
    return model


def train_step(model: RankingModel, candidates: int) -> Callable[[], float]:
    """A function that trains a model on the next of a few batches and returns the loss."""
    requests = _BATCHES * REQUESTS_PER_BATCH
    named = workload.schema(items=ITEMS, users=USERS)
    inputs = workload.requests(named, batch=requests, candidates=candidates, history=HISTORY)
    for name in (HISTORY_INDEX, CANDIDATE_INDEX):
        # Not in place: rows of content are the same array.
        inputs[name] = inputs[name] * max(1, (model.schema.item_rows - 1) // ITEMS)
    labels = np.random.default_rng(1).integers(0, 2, (requests, candidates)).astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(REQUESTS_PER_BATCH).cache().repeat()
    iterator = iter(batches)
    # What `fit` calls for a step.
    return lambda: float(model.train_function(iterator)["loss"])


def training_table(report: TrainingReport) -> Table:
    """What `bench_training` returns, for a reader."""
    table = Table(
        title=f"training, batches of {report.requests_per_batch} requests, history of {report.history}"
        + (", row updates" if report.row_updates else ""),
        title_justify="left",
    )
    table.add_column("model")
    for header in (f"N = {POINTWISE}", f"N = {GROUPED}"):
        table.add_column(lines(header, "ms per step"), justify="right")
        table.add_column(lines("", "candidates/s"), justify="right")
    table.add_column(lines("grouped vs", "pointwise"), justify="right")
    entries = {(_label(entry.model, entry.items), entry.candidates_per_request): entry for entry in report.results}
    for label, ratio in report.grouped_vs_pointwise.items():
        cells = []
        for candidates in (POINTWISE, GROUPED):
            entry = entries[label, candidates]
            cells += [f"{entry.milliseconds_per_step:.1f}", f"{entry.candidates_per_second:,.0f}"]
        table.add_row(label, *cells, f"{ratio:.1f}x")
    return table
