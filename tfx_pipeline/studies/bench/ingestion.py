"""`dmf bench ingestion`: events per second from a log to examples, beside the same job in Polars."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf
from rich.table import Table

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.console import console, lines
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import ConfigError, PipelineError
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.studies.bench.ingestion_jobs import FUNCTIONS, POLARS, STEP, TAKEN, polars_file
from tfx_pipeline.studies.bench.ingestion_log import HISTORY, write_log
from tfx_pipeline.studies.bench.machine import Machine, machine
from tfx_pipeline.transform.dataset import split_files

_MILLISECONDS = 1000
# Eval and test have a tenth of the days each.
_LEAST_REQUESTS = 200


@dataclass(frozen=True)
class JobResult:
    """One job over one log.

    Attributes:
        job: `step` (ingestion on Beam's DirectRunner), `functions` (the project's own code in it, without Beam, in one
            process) or `polars`.
        events: rows of the log.
        workers: processes of `step`, threads of `polars`.
        seconds: of the clock, without start and imports of the process; workers that Beam starts import in it.
        cpu_seconds: of processor time, likewise, of all processes.
        events_per_second: of the clock.
        events_per_cpu_second: of processor time.
        peak_mib: most memory that the job's processes held at one moment, their libraries included, in MiB. A page that
            several share counts for each.
        parts: of `functions`, seconds of processor time: `read` (with the search for bad rows), `build` (requests,
            histories, examples, audit) and `write`.
    """

    job: str
    events: int
    workers: int
    seconds: float
    cpu_seconds: float
    events_per_second: float
    events_per_cpu_second: float
    peak_mib: int
    parts: Mapping[str, float]


@dataclass(frozen=True)
class IngestionBenchReport(JsonRecord):
    """What `dmf bench ingestion` measured, as `--json` prints it.

    Attributes:
        results: one per job, number of workers and log.
        growth: of each job and number of workers (`step 1`), the processor time per event of the largest log against
            that of the smallest.
        against_polars: by events, the processor time of `functions` against that of Polars.
        candidates: rows of a request.
        history: most items of a history.
        largest_user: rows of one user beside `events`.
        machine: that was measured on.
    """

    results: Sequence[JobResult]
    growth: Mapping[str, float]
    against_polars: Mapping[str, float]
    candidates: int
    history: int
    largest_user: int
    machine: Machine


def bench_ingestion(
    events: Sequence[int], workers: Sequence[int], candidates: int, largest_user: int = 0
) -> IngestionBenchReport:
    """Times ingestion of synthetic logs, each job in a process of its own.

    The examples of the smallest log are compared with the rows of Polars, before anything is told.

    Args:
        events: rows of the logs.
        workers: processes of Beam's DirectRunner.
        candidates: rows of a request.
        largest_user: rows of one user beside the others'.

    Raises:
        ConfigError: Polars is not installed, or a log is too small for a request in each split.
        PipelineError: a job fails, or the examples are not those of Polars.
    """
    if min(events) < (least := _LEAST_REQUESTS * candidates):
        raise ConfigError(f"--events: {min(events)} are too few in requests of {candidates}; expected {least} or more")
    if importlib.util.find_spec(POLARS) is None:
        raise ConfigError("dmf bench ingestion compares with Polars, which is not installed; install the extra `bench`")
    results = []
    for size in sorted(events):
        with tempfile.TemporaryDirectory(prefix="dmf-bench-") as scratch:
            folder = Path(scratch)
            with console().status(f"writing a log of {size:,} events"):
                config = write_log(folder, size - size % candidates, candidates, largest_user)
            rows = pq.read_metadata(folder / "log.parquet").num_rows
            jobs = [(STEP, count) for count in workers] + [(FUNCTIONS, 1), (POLARS, max(workers))]
            for job, count in jobs:
                with console().status(f"{rows:,} events: {job}, {count} at a time"):
                    results.append(_run(job, config, folder / f"{job}-{count}", rows, count))
            if size == min(events):
                with console().status("comparing the examples with Polars"):
                    of_polars = folder / f"{POLARS}-{max(workers)}"
                    for job, count in jobs[:-1]:
                        check_equal(job, folder / f"{job}-{count}", of_polars)
    found = {(each.job, each.workers, each.events): each for each in results}
    smallest, largest = results[0].events, results[-1].events
    return IngestionBenchReport(
        results=results,
        growth={
            f"{job} {count}": found[job, count, smallest].events_per_cpu_second
            / found[job, count, largest].events_per_cpu_second
            for job, count in jobs
        },
        against_polars={
            f"{each.events}": each.cpu_seconds / found[POLARS, max(workers), each.events].cpu_seconds
            for each in results
            if each.job == FUNCTIONS
        },
        candidates=candidates,
        history=HISTORY,
        largest_user=largest_user,
        machine=machine(),
    )


def check_equal(job: str, written: Path, of_polars: Path) -> None:
    """Compares the examples that a job wrote to a folder with the Parquet files of Polars in another.

    Raises:
        PipelineError: they differ; the message names job and split.
    """
    for split in SPLITS:
        ours = sorted(_of_examples(split_files(str(written), split)))
        theirs = sorted(_of_polars(polars_file(of_polars, split)))
        if ours != theirs:
            raise PipelineError(f"{job}: {len(ours):,} examples of {split} are not the {len(theirs):,} of Polars")


def _of_examples(files: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """User, time, candidates, labels and history of the examples in files."""
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        yield (
            feature[raw_features.USER_ID].bytes_list.value[0].decode(),
            feature[raw_features.REQUEST_TIME].int64_list.value[0],
            _texts(feature[raw_features.CANDIDATE_ITEM_ID]),
            tuple(feature[raw_features.LABEL].int64_list.value),
            _texts(feature[raw_features.HISTORY_ITEM_ID]),
        )


def _of_polars(path: Path) -> Iterator[tuple[Any, ...]]:
    table = pq.read_table(path)
    times = np.array(table["timestamp"]) * _MILLISECONDS
    columns = [table[name].to_pylist() for name in ("user_id", "item_id", "label", "history")]
    for user, time, items, labels, history in zip(columns[0], times.tolist(), *columns[1:], strict=True):
        yield user, time, tuple(items), tuple(labels), tuple(history or ())


def _texts(feature: tf.train.Feature) -> tuple[str, ...]:
    return tuple(value.decode() for value in feature.bytes_list.value)


def _run(job: str, config: IngestionConfig, folder: Path, events: int, workers: int) -> JobResult:
    folder.mkdir()
    command = [sys.executable, "-m", "tfx_pipeline.studies.bench.ingestion_jobs", job, config.to_json(), str(folder)]
    environment = os.environ | {"POLARS_MAX_THREADS": str(workers)}
    done = subprocess.run([*command, str(workers)], capture_output=True, text=True, env=environment)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        why = "it was killed, perhaps for want of memory" if done.returncode == -signal.SIGKILL else last
        raise PipelineError(f"the job {job} over {events:,} events ended with {done.returncode}: {why}")
    taken = json.loads((folder / TAKEN).read_text(encoding="utf-8"))
    return JobResult(
        job=job,
        events=events,
        workers=workers,
        seconds=round(taken["seconds"], 3),
        cpu_seconds=round(taken["cpu_seconds"], 3),
        events_per_second=round(events / taken["seconds"], 1),
        events_per_cpu_second=round(events / taken["cpu_seconds"], 1),
        peak_mib=round(taken["peak_mib"]),
        parts={name: round(seconds, 3) for name, seconds in taken["parts"].items()},
    )


def ingestion_table(report: IngestionBenchReport) -> Table:
    """What `bench_ingestion` returns, for a reader."""
    heavy = f", one user of {report.largest_user:,} events" if report.largest_user else ""
    table = Table(
        title=f"ingestion, requests of {report.candidates}, histories of {report.history} at most{heavy}",
        title_justify="left",
    )
    table.add_column("events", justify="right")
    table.add_column("job")
    for above, below in (
        ("", "seconds"),
        ("events/s", ""),
        ("CPU", "seconds"),
        ("events/s", "of CPU"),
        ("peak", "MiB"),
    ):
        table.add_column(lines(above, below), justify="right")
    for each in report.results:
        by = {STEP: f", workers: {each.workers}", POLARS: f", threads: {each.workers}"}
        table.add_row(
            f"{each.events:,}",
            each.job + by.get(each.job, ""),
            f"{each.seconds:,.1f}",
            f"{each.events_per_second:,.0f}",
            f"{each.cpu_seconds:,.1f}",
            f"{each.events_per_cpu_second:,.0f}",
            f"{each.peak_mib:,}",
        )
    return table


def ingestion_sentences(report: IngestionBenchReport) -> list[str]:
    """What the table does not say."""
    sentences = [
        f"functions take {ratio:.1f} times the processor time of Polars over {int(events):,} events."
        for events, ratio in report.against_polars.items()
    ]
    if len({each.events for each in report.results}) > 1:
        grown = ", ".join(f"{name} {ratio:.2f}x" for name, ratio in report.growth.items())
        sentences.append(f"Processor time per event, largest log against smallest: {grown}.")
    return sentences
