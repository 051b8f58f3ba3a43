"""`dmf bench training`: candidates per second through the training step of every model."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from rich.table import Table

from dmf_keras.models.inputs import CANDIDATE_INDEX, HISTORY_INDEX
from dmf_keras.models.ranking_model import RankingModel
from serving.contract import FLOAT32
from tfx_pipeline.config.schema import Training
from tfx_pipeline.console import console, lines
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.studies.bench import workload
from tfx_pipeline.studies.bench.machine import Machine, machine
from tfx_pipeline.studies.bench.timing import interleaved
from tfx_pipeline.studies.bench.variant import Variant
from tfx_pipeline.training.freed_memory import freed_memory_kept
from tfx_pipeline.training.fused_adam import FusedAdam, take_tables
from tfx_pipeline.training.trainer import dense_dtype

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
        precision: of head and branches, as `training.mixed_precision` has it.
        candidates_per_request: 1 or 16.
        candidates_per_second, examples_per_second: through the step; an example is a request.
        milliseconds_per_step: the median.
    """

    model: str
    items: int
    precision: str
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
        hidden_units: of the head; None: the default of each model.
        grouped_vs_pointwise: ratio of candidates per second, by model, with precision and number of items where these
            are not float32 and 10,000.
        history: items in each.
        requests_per_batch: of both kinds.
        machine: that was measured on.
    """

    results: Sequence[StepResult]
    row_updates: bool
    hidden_units: Sequence[int] | None
    grouped_vs_pointwise: Mapping[str, float]
    history: int
    requests_per_batch: int
    machine: Machine


def bench_training(
    models: Sequence[str],
    *,
    seconds: float,
    items: Sequence[int] = (ITEMS,),
    rows: bool = False,
    precisions: Sequence[str] = (FLOAT32,),
    hidden_units: Sequence[int] | None = None,
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
        precisions: of head and branches, `float32` and `bfloat16`.
        hidden_units: of the head, of models that have one; None: their default.
    """
    # As the pipeline trains.
    with freed_memory_kept():
        with console().status("compiling the training steps"):
            steps = {}
            for name, count, precision in itertools.product(models, items, precisions):
                model = new_model(name, count, rows, precision, hidden_units)
                for candidates in (POINTWISE, GROUPED):
                    steps[name, count, precision, candidates] = train_step(model, candidates)
        labels = {f"{_label(*case[:3])} {case[3]}": step for case, step in steps.items()}
        timings = interleaved(labels, seconds=seconds, title="training steps")
    results = []
    for name, count, precision, candidates in steps:
        timing = timings[f"{_label(name, count, precision)} {candidates}"]
        per_second = 1000 * REQUESTS_PER_BATCH / timing.median
        speeds = (per_second * candidates, per_second, timing.median)
        results.append(StepResult(name, count, precision, candidates, *speeds))
    speed = {(_label_of(entry), entry.candidates_per_request): entry.candidates_per_second for entry in results}
    measured = dict.fromkeys(label for label, _ in speed)
    return TrainingReport(
        results=results,
        row_updates=rows,
        hidden_units=hidden_units,
        grouped_vs_pointwise={label: speed[label, GROUPED] / speed[label, POINTWISE] for label in measured},
        history=HISTORY,
        requests_per_batch=REQUESTS_PER_BATCH,
        machine=machine(),
    )


def _label(name: str, items: int, precision: str) -> str:
    named = name if precision == FLOAT32 else f"{name} {precision}"
    return named if items == ITEMS else f"{named}, {items:,} items"


def _label_of(entry: StepResult) -> str:
    return _label(entry.model, entry.items, entry.precision)


def new_model(
    name: str,
    items: int = ITEMS,
    rows: bool = False,
    precision: str = FLOAT32,
    hidden_units: Sequence[int] | None = None,
) -> RankingModel:
    """A model with its default hyper-parameters but for the head, and content of `ITEMS`, ready to be trained."""
    schema = dataclasses.replace(workload.schema(items=ITEMS, users=USERS), item_rows=items + 1)
    params = {} if hidden_units is None else Variant(name).params({"hidden_units": tuple(hidden_units)})
    trained_in = dense_dtype(Training(mixed_precision="never" if precision == FLOAT32 else precision))
    model: RankingModel = workload.model(name, params, schema, trained_in)
    # As the pipeline compiles it: batches differ in shape, so there is no XLA on a CPU.
    optimizer = FusedAdam(rows=take_tables(model) if rows else None)
    optimizer.keep_current(model)
    model.compile(optimizer)
    model.make_train_function()
    return model


def train_step(model: RankingModel, candidates: int) -> Callable[[], float]:
    """A function that trains a model on the next of a few batches and returns the loss."""
    batches = tf.data.Dataset.from_tensor_slices(step_data(model, candidates))
    iterator = iter(batches.batch(REQUESTS_PER_BATCH).cache().repeat())
    # What `fit` calls for a step.
    return lambda: float(model.train_function(iterator)["loss"])


def step_data(model: RankingModel, candidates: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The requests that `train_step` takes batches of: inputs by name, and labels [requests, candidates]."""
    requests = _BATCHES * REQUESTS_PER_BATCH
    named = workload.schema(items=ITEMS, users=USERS)
    inputs = workload.requests(named, batch=requests, candidates=candidates, history=HISTORY)
    for name in (HISTORY_INDEX, CANDIDATE_INDEX):
        # Not in place: rows of content are the same array.
        inputs[name] = inputs[name] * max(1, (model.schema.item_rows - 1) // ITEMS)
    return inputs, np.random.default_rng(1).integers(0, 2, (requests, candidates)).astype(np.float32)


def training_table(report: TrainingReport) -> Table:
    """What `bench_training` returns, for a reader."""
    table = Table(
        title=f"training, batches of {report.requests_per_batch} requests, history of {report.history}"
        + (f", head {', '.join(map(str, report.hidden_units))}" if report.hidden_units else "")
        + (", row updates" if report.row_updates else ""),
        title_justify="left",
    )
    table.add_column("model")
    for header in (f"N = {POINTWISE}", f"N = {GROUPED}"):
        table.add_column(lines(header, "ms per step"), justify="right")
        table.add_column(lines("", "candidates/s"), justify="right")
    table.add_column(lines("grouped vs", "pointwise"), justify="right")
    entries = {(_label_of(entry), entry.candidates_per_request): entry for entry in report.results}
    for label, ratio in report.grouped_vs_pointwise.items():
        cells = []
        for candidates in (POINTWISE, GROUPED):
            entry = entries[label, candidates]
            cells += [f"{entry.milliseconds_per_step:.1f}", f"{entry.candidates_per_second:,.0f}"]
        table.add_row(label, *cells, f"{ratio:.1f}x")
    return table
