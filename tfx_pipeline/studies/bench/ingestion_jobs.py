"""The jobs that `dmf bench ingestion` times, each in a process of its own: `python -m ...ingestion_jobs JOB ...`."""

from __future__ import annotations

import collections
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.files.writing import write_text

STEP, FUNCTIONS, POLARS = "step", "functions", "polars"
TAKEN = "taken.json"


def step(config: IngestionConfig, folder: Path, workers: int) -> Callable[[], dict[str, float]]:
    """Ingestion as the pipeline runs it: Beam's DirectRunner with that many workers."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from tfx_pipeline.components.behavior_log_example_gen.steps import LogsToExamples
    from tfx_pipeline.runners import beam_graphs
    from tfx_pipeline.runners.beam_args import runner_args

    beam_graphs.remember()
    mode = "in_memory" if workers == 1 else "multi_processing"
    args = ["--runner=DirectRunner", f"--direct_num_workers={workers}", f"--direct_running_mode={mode}"]
    uris = _split_folders(folder)

    def job() -> dict[str, float]:
        with beam.Pipeline(options=PipelineOptions(runner_args(args))) as pipeline:
            _ = pipeline | LogsToExamples(config, uris, str(folder / "tally.json"), str(folder / "quarantine.jsonl"))
        return {}

    return job


def functions(config: IngestionConfig, folder: Path, workers: int) -> Callable[[], dict[str, float]]:
    """The project's own code in that step, one function after the other, without Beam; `workers` is 1."""
    from tfx_pipeline.components.behavior_log_example_gen import steps
    from tfx_pipeline.components.behavior_log_example_gen.writing import WriteShard, shard_count
    from tfx_pipeline.data.examples.splits import Cuts
    from tfx_pipeline.data.logs.files import list_files
    from tfx_pipeline.data.logs.reader import pieces

    uris = _split_folders(folder)
    assert config.split.dates is not None, "the synthetic log is split by dates"
    cuts = Cuts.from_dates(config.split.dates)

    def job() -> dict[str, float]:
        began = time.process_time()
        read, rows = steps.ReadLog(config), collections.defaultdict(list)
        read.start_bundle()
        for file in list_files(config.data.interactions):
            for piece in pieces(file):
                # The rest is tagged: bad rows, of which there are none.
                for user, chunk in read.process(piece):
                    rows[user].append(chunk)
        has_read = time.process_time()
        shards = shard_count(read.tally.counts["rows_read",])
        build, packed = steps.BuildExamples(config), collections.defaultdict(list)
        build.start_bundle()

        def keep(output: Any) -> None:
            if output.tag == build.EXAMPLES:
                value = getattr(output.value, "value", output.value)
                packed[value[0]].append(value[1])

        for user, chunks in rows.items():
            grouped: dict[str, Iterable[Any]] = {build.ROWS: chunks, build.PROFILES: [], build.NEGATIVES: []}
            for output in build.process((user, grouped), cuts, shards, None):
                keep(output)
        for output in build.finish_bundle():
            keep(output)
        built = time.process_time()
        write = WriteShard(uris)
        for shard in packed.items():
            list(write.process(shard, shards))
        written = time.process_time()
        return {"read": has_read - began, "build": built - has_read, "write": written - built}

    return job


def polars(config: IngestionConfig, folder: Path, workers: int) -> Callable[[], dict[str, float]]:
    """The same requests, histories and splits by Polars, on `workers` threads, as Parquet files.

    It neither looks for bad rows nor audits, and what it writes is no `tf.Example`.
    """
    import polars as pl

    log, length, dates = config.data.interactions.path, config.history.max_length, config.split.dates
    assert dates is not None, "the synthetic log is split by dates"
    cuts = [int(at.timestamp() * 1000) for at in (dates.eval_from, dates.test_from)]

    def job() -> dict[str, float]:
        rows = pl.scan_parquet(log).sort("user_id", "timestamp", maintain_order=True)
        requests = (
            rows.group_by("user_id", "timestamp", maintain_order=True)
            .agg("item_id", "label")
            .with_columns(positives=pl.col("label").list.sum().cast(pl.Int64))
            # Of requests of earlier moments alone: a user has one request a moment.
            .with_columns(known=pl.col("positives").cum_sum().over("user_id") - pl.col("positives"))
        )
        positives = rows.filter(pl.col("label") == 1).select("user_id", "item_id").with_row_index("event").collect()
        of_user = positives.lazy().group_by("user_id").agg(first=pl.col("event").min().cast(pl.Int64))
        placed = (
            requests.join(of_user, on="user_id", how="left", maintain_order="left")
            .with_columns(end=pl.col("first").fill_null(0) + pl.col("known"))
            .with_columns(begin=pl.col("end") - pl.min_horizontal("known", length))
            .with_row_index("request")
            .collect()
        )
        # A user's events beside each of the user's requests would be of the square of them.
        known = placed.select("request", event=pl.int_ranges("begin", "end")).explode("event").drop_nulls()
        known = known.select("request", history=positives["item_id"].gather(known["event"]))
        histories = known.group_by("request", maintain_order=True).agg("history")
        examples = placed.join(histories, on="request", how="left", maintain_order="left").select(
            "user_id", "timestamp", "item_id", "label", "history"
        )
        split = sum((pl.col("timestamp") >= cut).cast(pl.Int8) for cut in cuts)
        for ordinal, name in enumerate(SPLITS):
            path = polars_file(folder, name)
            examples.filter(split == ordinal).write_parquet(path, compression="zstd")
        return {}

    return job


_JOBS = {STEP: step, FUNCTIONS: functions, POLARS: polars}


def polars_file(folder: Path, split: str) -> Path:
    """Where the job `polars` writes a split."""
    return folder / f"{split}.parquet"


def main(arguments: list[str]) -> None:
    """Runs one job and writes what it took to `TAKEN` of its folder: seconds, cpu_seconds, peak_mib, and parts."""
    from tfx_pipeline.runners.peak_memory import PeakMemory

    name, config, folder, workers = arguments
    job = _JOBS[name](IngestionConfig.model_validate_json(config), Path(folder), int(workers))
    with PeakMemory(every=0.2) as memory:
        cpu, began = _cpu_seconds(), time.perf_counter()
        parts = job()
        taken = {"seconds": time.perf_counter() - began, "cpu_seconds": _cpu_seconds() - cpu}
    write_text(str(Path(folder) / TAKEN), json.dumps({**taken, "peak_mib": memory.mebibytes, "parts": parts}))


def _cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _split_folders(folder: Path) -> dict[str, str]:
    folders = {name: folder / f"Split-{name}" for name in SPLITS}
    for each in folders.values():
        each.mkdir(parents=True, exist_ok=True)
    return {name: str(each) for name, each in folders.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
