"""`dmf score`: every request of a log, scored as it would have been at its moment.

The log is read twice. The first time its rows, those of its users in the model's own log, and their profiles are
written to scratch files by user. Then users are taken part by part, and the second time the log's rows get their scores
in the order of the log. In memory are a batch, the users of one part, and 14 bytes for a row of the log.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.contract import SCORE, SCORE_PREFIX
from tfx_pipeline.config.tables import Table
from tfx_pipeline.data.examples.raw_features import LABEL_PREFIX
from tfx_pipeline.data.logs.files import fingerprint, list_files
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.spill import Spill
from tfx_pipeline.files.writing import remove, write_lines, writing
from tfx_pipeline.trained.score.asking import Scores, ask, questions
from tfx_pipeline.trained.score.reading import LogRows, Sources, read_log, read_own, read_users
from tfx_pipeline.trained.score.report import ScoreReport, Watch
from tfx_pipeline.trained.version import Version

_TIME = pa.timestamp("us", tz="UTC")


def score(version: Version, log: Path, output: Path, watch: Watch, *, batch: int) -> ScoreReport:
    """Scores the requests of a log and writes a row for each candidate, in the order of the log.

    Args:
        version: the exported model.
        log: a file, a folder or a glob, written as the log that the model was trained on; it may lack the labels.
        output: Parquet file of `user_id`, `request_id`, `item_id` (string), `score` and, of several
            objectives, `score/NAME` (float32), `time` (microseconds, UTC) and, where the log has labels, `label`
            and, of objectives beside the first, `label/NAME` (int8). It appears whole, and replaces what is there.
            Beside it, with the ending `.quarantine.jsonl`, are the rows that cannot be used, if there are any.
        watch: is told how far it is.
        batch: the most requests that the model is asked at once.

    Raises:
        ModelError: the model cannot be loaded, does not say what it was trained on, or fails over a request.
        DataError: the log, or what the model was trained on, cannot be read, or the output would be one of them.
        OSError: the output's disk is full, or may not be written.
    """
    clock = _Clock()
    _ = version.contract
    sources = Sources.of(version, log)
    quarantine = output.with_suffix(".quarantine.jsonl")
    for file in (output, quarantine):
        _check_output(file, sources)
    before = fingerprint([sources.asked.data.interactions.path])
    with version.load(optimised=True) as servable:
        clock.end("load")
        output.parent.mkdir(parents=True, exist_ok=True)
        with Spill(output.parent, sources.parts) as rows, Spill(output.parent, sources.parts) as profiles:
            found = read_log(sources, rows, watch)
            read_own(sources, found.users, rows, watch)
            read_users(sources, found.users, profiles, watch)
            clock.end("read")
            objectives = [SCORE_PREFIX + name for name in version.contract.objectives]
            scores, done = Scores(found.usable, [SCORE, *objectives], sources.own.labels), 0
            for part in zip(rows.parts(), profiles.parts(), strict=True):
                for count in ask(servable, questions(*part, sources, scores), scores, batch):
                    done += count
                    watch("scoring", done, found.usable)
        clock.end("score")
    with writing(output) as incoming:
        unknown = _write(incoming, version, sources, found, scores, watch)
        if fingerprint([sources.asked.data.interactions.path]) != before:
            raise _changed(log)
        if found.bad_rows:
            write_lines(quarantine, (row.to_json() for row in found.bad_rows))
        else:
            remove(quarantine)
    clock.end("write")
    kept, tally = int(scores.kept.sum()), found.tally
    return ScoreReport(
        model=str(version.path),
        log=str(log),
        output=str(output),
        quarantine=str(quarantine) if found.bad_rows else None,
        rows_read=tally.counts["rows_read",],
        impressions_read=found.usable if sources.asked.data.interactions.impressions is not None else None,
        rows_kept=kept,
        quarantined=tally.under("quarantined"),
        repeated=found.usable - kept,
        not_a_number=tally.under("not_a_number"),
        requests=scores.requests,
        requests_without_history=scores.without_history,
        users=scores.users,
        users_without_profile=scores.without_profile,
        rows_of_unknown_items=unknown,
        seconds=clock.seconds,
        requests_per_second=scores.requests / sum(clock.seconds.values()),
    )


class _Clock:
    """Seconds of the parts of some work, each from the end of the one before it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def end(self, part: str) -> None:
        now = time.monotonic()
        self.seconds[part], self._since = now - self._since, now


def _check_output(output: Path, sources: Sources) -> None:
    """Refuses a file to be written that would replace what is read, or would be read as a part of a log next time."""
    place, data = output.resolve(), sources.own.data
    tables: list[Table] = [sources.asked.data.interactions, data.interactions, *([data.users] if data.users else [])]
    for table in tables:
        inside = table.path.is_dir() and table.path.resolve() in place.parents
        if inside or any(Path(file.path).resolve() == place for file in list_files(table)):
            raise DataError(f"{output} would be a file of {table.path}, which is read; write the scores elsewhere")


def _changed(log: Path) -> DataError:
    return DataError(f"{log} changed while it was scored; score it again")


def _write(file: Path, version: Version, sources: Sources, found: LogRows, scores: Scores, watch: Watch) -> int:
    """Writes the rows that are kept; returns how many are of items that the catalogue lacks.

    Raises:
        DataError: the log has more rows than were scored.
    """
    catalogue = pa.array(version.items(), pa.string())
    fields = [("user_id", pa.string()), ("request_id", pa.string()), ("item_id", pa.string())]
    fields += [(name, pa.float32()) for name in scores.outputs]
    positive = {"label": scores.positive} if found.labelled else {}
    positive |= {
        LABEL_PREFIX + name: scores.further_positive[name] for name in scores.further_positive if name in found.further
    }
    fields += [("time", _TIME), *((name, pa.int8()) for name in positive)]
    start, unknown = 0, 0
    with pq.ParquetWriter(file, pa.schema(fields)) as writer:
        for _, _, labelled, further, cleaned in sources.batches():
            good = cleaned.good
            rows = slice(start, start + len(good.row))
            start = rows.stop
            if start > found.usable:
                raise _changed(sources.asked.data.interactions.path)
            request = pa.nulls(len(good.row), pa.string()) if good.request is None else good.request.cast(pa.string())
            columns = {
                "user_id": good.user.cast(pa.string()),
                "request_id": request,
                "item_id": good.item.cast(pa.string()),
                **{name: pa.array(values[rows]) for name, values in scores.outputs.items()},
                "time": pa.array(good.time_us).cast(_TIME),
            }
            known = {"label": labelled} | {LABEL_PREFIX + name: name in further for name in found.further}
            for name, flags in positive.items():
                mask = np.full(len(good.row), not known[name])
                columns[name] = pa.array(flags[rows].astype(np.int8), mask=mask)
            table = pa.table(columns, pa.schema(fields)).filter(pa.array(scores.kept[rows]))
            unknown += len(table) - (pc.sum(pc.is_in(table["item_id"], value_set=catalogue)).as_py() or 0)
            writer.write_table(table)
            watch("writing", start, found.usable)
    return unknown
