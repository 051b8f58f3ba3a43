"""Sections of a run's page about its data: what came in, how it was split, what the checks found."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.dates as mdates
import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter
from tensorflow_metadata.proto.v0 import anomalies_pb2

from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.data.content.table import CodesManifest, ContentManifest
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.data.ingestion_report import AuditCounts, Cuts, GivenHistoryCounts, IngestionReport, ListCounts
from tfx_pipeline.files import artifact_files
from tfx_pipeline.pages.kit.figures import INK, WIDE_SIZE, draw
from tfx_pipeline.pages.kit.page import Block, Picture, Prose, Section, Table
from tfx_pipeline.pages.kit.palette import colour
from tfx_pipeline.pages.kit.wording import count, listed, moment, percent
from tfx_pipeline.pages.run.finished_run import FinishedRun
from tfx_pipeline.transform.dataset import split_files

# Requests per split whose time is read; the shards of a split hold its requests in random order.
TIMED_REQUESTS = 500_000
_INGESTION = ("BehaviorLogExampleGen", "report", artifact_files.INGESTION_REPORT)
_DAY_US, _HOUR_US = 86_400_000_000, 3_600_000_000
_HATCHES = ("", "///", "...")
_LONGEST_VALUE = 120
_REASONS = {
    "malformed": "the line could not be read",
    "not_utf8": "an id that is not UTF-8",
    "null_user": "no user",
    "no_impressions": "an empty list of impressions",
    "unequal_lists": "lists of different lengths",
    "null_item": "no item",
    "bad_time": "the time is no time",
    "negative_time": "a time before 1970",
    "time_out_of_range": "a time outside earliest_time to latest_time",
    "bad_label": "a label other than 0 and 1",
    "label_without_condition": "an objective is 1 where the one that it is given is 0",
    "bad_weight": "a weight that is no number of at least 0",
    "bad_history": "a history with an event without an id or time, or lists of different lengths",
}


def arrival_section(run: FinishedRun) -> Section:
    """What came in, and what was set aside."""
    report = run.record(IngestionReport, *_INGESTION)
    if report is None:
        return Section("data", "What came in", [Prose("The run has no ingestion report: no example was written.")])
    bad = report.faults
    read = max(report.rows_read, 1)
    impressions = [
        ("kept as impressions", report.rows_kept),
        ("left out as repetitions", report.duplicates),
        ("merged with another label", report.merged_labels),
        *([("history only, before split.train_from", report.history_only)] if report.history_only else []),
    ]
    rows = [impressions[0], ("quarantined", sum(bad.values())), *impressions[1:]]
    lists = report.lists
    if lists is not None:
        rows = [("taken as lists of impressions", lists.rows), rows[1]]
    blocks: list[Block] = [
        Prose(
            f"The log has {count(report.rows_read)} rows of {count(report.users)} users and "
            f"{count(report.items.distinct)} items, {count(report.items.not_in_catalogue)} of which are "
            f"not in the catalogue. {_empty_histories(report)}"
        ),
        Table(
            "What became of the rows of the log",
            ("rows of the log", "rows", "share of all rows"),
            [(what, count(number), percent(number / read, 2)) for what, number in rows],
            numbers=2,
        ),
        *([] if lists is None else [_impressions(impressions, lists)]),
        *_quarantine(run, bad, read),
        _audit(report.audit),
        *([] if report.history.given is None else [_given(report.history.given)]),
        *_further_histories(report.history.further),
        *_content(run),
    ]
    return Section("data", "What came in", blocks)


def _impressions(counts: Sequence[tuple[str, int]], lists: ListCounts) -> Table:
    every = max(lists.impressions, 1)
    return Table(
        "What became of the impressions in these lists",
        ("impressions", "impressions", "share of all impressions"),
        [(what, count(number), percent(number / every, 2)) for what, number in counts],
        numbers=2,
    )


def _given(given: GivenHistoryCounts) -> Prose:
    """What could be checked of histories that the log gives."""
    own = (
        f"{count(given.ends_in_own_positive)} requests have one of their own positives as the newest history item; "
        "many such requests would mean that histories were taken after the click."
    )
    if not given.with_times:
        return Prose(f"Histories are given by the log, without times: their age cannot be checked. {own}")
    return Prose(
        f"Histories are given by the log, with times: of {count(given.events)} events, {count(given.from_future)} are "
        f"at or after their request, and {count(given.held_back)} within history.delay_s before it; both were left "
        f"out. {own}"
    )


def _empty_histories(report: IngestionReport) -> str:
    share = report.history.empty_share
    return "" if share is None else f"{percent(share)} of the requests have an empty history."


def _further_histories(further: Mapping[str, Mapping[str, int]]) -> list[Block]:
    """How long the further histories of the requests are."""
    rows = []
    for name, by_length in further.items():
        # By the least length of a range, in order; the range ends before the next.
        lengths = {int(least): requests for least, requests in by_length.items()}
        every = max(sum(lengths.values()), 1)
        empty = sum(requests for least, requests in lengths.items() if not least)
        long = max((least for least, requests in lengths.items() if requests), default=0)
        rows.append((name, count(sum(lengths.values()) - empty), percent(empty / every), count(long)))
    columns = ("history", "requests that have one", "empty", "the longest have at least (items)")
    return [Table("Further histories of the requests", columns, rows, numbers=3)] if rows else []


def _quarantine(run: FinishedRun, bad: dict[str, int], read: int) -> list[Block]:
    if not bad:
        return [Prose("No row was quarantined.", "good")]
    folder = run.folder(*_INGESTION[:2])
    with run.reading(*_INGESTION[:2], artifact_files.QUARANTINE):
        examples = _first_examples(folder / artifact_files.QUARANTINE) if folder is not None else {}
    rows = []
    for reason, number in sorted(bad.items(), key=lambda entry: -entry[1]):
        first = examples.get(reason)
        where = f"row {first['row']:,} of {Path(first['file']).name}" if first else ""
        values = json.dumps(first["values"], ensure_ascii=False) if first else ""
        if len(values) > _LONGEST_VALUE:
            values = values[:_LONGEST_VALUE] + "…"
        rows.append((f"{reason}: {_REASONS.get(reason, '')}", where, values, count(number), percent(number / read, 3)))
    columns = ("reason", "first such row", "its values", "rows", "share of all rows")
    return [Table("Rows that were quarantined, by the first fault found in each", columns, rows, numbers=2)]


def _first_examples(file: Path) -> dict[str, Mapping[str, Any]]:
    """The first quarantined row of each reason."""
    found: dict[str, Mapping[str, Any]] = {}
    if file.is_file():
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                found.setdefault(row["reason"], row)
                if len(found) == len(_REASONS):
                    break
    return found


def _audit(audit: AuditCounts) -> Prose:
    broken = audit.broken
    checked = f"The leakage audit looked at {count(audit.requests_checked)} requests"
    if not broken:
        return Prose(f"{checked} and found none that could see its own future.", "good")
    found = ", ".join(f"{rule.replace('_', ' ')}: {count(number)}" for rule, number in broken.items())
    return Prose(f"{checked} and found violations: {found}.", "bad")


def _content(run: FinishedRun) -> list[Block]:
    content = run.record(ContentManifest, run.content_step, "content", artifact_files.CONTENT_MANIFEST)
    if content is None:
        return [Prose("The run has no catalogue.")]
    embedded = _modalities(content) if content.modalities else Prose("The catalogue has no content embeddings.")
    columns = [_item_columns(content)] if content.columns else []
    return [embedded, *columns, *([] if content.codes is None else _codes(content.codes))]


def _modalities(content: ContentManifest) -> Table:
    rows = []
    for name, facts in content.modalities.items():
        coverage = facts.coverage
        width = f"{facts.width} of {facts.source_width}" if facts.width != facts.source_width else str(facts.width)
        share = coverage.present / max(coverage.items, 1)
        cells = (name, facts.source, facts.dtype, width)
        rows.append((*cells, count(coverage.present), count(coverage.items), percent(share)))
    columns = ("modality", "file", "stored as", "width (numbers)", "items with content", "items", "share of items")
    return Table("Content of the catalogue", columns, rows, numbers=4)


def _item_columns(content: ContentManifest) -> Table:
    rows = []
    for name, facts in content.columns.items():
        coverage = facts.coverage
        kind = "number" if facts.rows is None else f"{count(facts.rows)} rows, up to {facts.width} of an item"
        numbers = (
            coverage.items - coverage.missing,
            coverage.missing,
            coverage.unknown,
            coverage.cut,
            coverage.no_number,
        )
        rows.append((name, kind, *map(count, numbers)))
    columns = ("column", "kind", "items with it", "without", "with a rare name", "with more than are kept", "no number")
    return Table("Columns of the catalogue", columns, rows, numbers=5)


def _codes(codes: CodesManifest) -> list[Block]:
    report = codes.report
    rows = [
        (
            str(number),
            count(level.used),
            count(codes.size),
            percent(level.used / codes.size),
            count(level.largest),
            percent(level.largest / max(report.coded, 1)),
            percent(level.error),
        )
        for number, level in enumerate(report.levels, 1)
    ]
    columns = (
        *("level", "codes in use", "codes", "share in use", "items of the most frequent code", "share of items"),
        "squared length that is left over",
    )
    shared = percent(report.colliding / max(report.coded, 1))
    return [
        Table(f"Semantic ids of the catalogue, made of '{codes.of}'", columns, rows, numbers=6),
        Prose(
            f"{count(report.coded)} of {count(report.items)} items have semantic ids, {count(report.distinct)} "
            f"different ones; {count(report.colliding)} items ({shared}) share the codes of all levels with another "
            "item."
        ),
    ]


def splits_section(run: FinishedRun) -> Section:
    """The splits in numbers and on a time line."""
    report = run.record(IngestionReport, *_INGESTION)
    if report is None:
        return Section("splits", "Splits", [Prose("The run has no splits.")])
    rows = []
    for split, counts in report.splits.items():
        rate = counts.positives / max(counts.impressions, 1)
        span = (moment(counts.first_time), moment(counts.last_time))
        units = (count(number) for number in (counts.requests, counts.impressions, counts.positives))
        rows.append((split, *span, *units, percent(rate, 2)))
    columns = ("split", "first request (UTC)", "last request (UTC)", "requests", "impressions", "clicks", "click rate")
    blocks: list[Block] = [Table("Requests of each split, which follow each other in time", columns, rows, numbers=4)]
    examples = run.folder("BehaviorLogExampleGen", "examples")
    if examples is not None:
        requests = {split: counts.requests for split, counts in report.splits.items()}
        with run.reading("BehaviorLogExampleGen", "examples"):
            blocks.append(_time_line(examples, requests, report.cuts))
    return Section("splits", "Splits", blocks)


def _time_line(examples: Path, requests: dict[str, int], cuts: Cuts) -> Picture:
    times = {split: request_times(split_files(examples, split), TIMED_REQUESTS) for split in SPLITS}
    everything = np.concatenate(list(times.values()))
    step, unit = (_DAY_US, "day") if np.ptp(everything) > 3 * _DAY_US else (_HOUR_US, "hour")
    edges = np.arange(everything.min() // step, everything.max() // step + 2) * step
    # Where only some of a split were read, each stands for several.
    weight = {split: requests[split] / max(len(read), 1) for split, read in times.items()}
    starts = edges[:-1].astype("datetime64[us]")

    def paint(axes: Axes) -> None:
        below = np.zeros(len(starts))
        for number, (split, read) in enumerate(times.items()):
            height = np.histogram(read, edges)[0] * weight[split]
            axes.bar(
                starts,
                height,
                np.timedelta64(step, "us"),
                below,
                align="edge",
                label=split,
                color=colour(number),
                hatch=_HATCHES[number],
                edgecolor=INK,
                linewidth=0.3,
            )
            below += height
        for cut in (cuts.eval_from, cuts.test_from):
            place = mdates.date2num(dt.datetime.fromisoformat(cut).replace(tzinfo=None))
            axes.axvline(place, color=INK, linestyle="--", linewidth=1)
        axes.set_ylabel(f"requests per {unit}")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        locator = mdates.AutoDateLocator(maxticks=9)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
        axes.margins(x=0.01)
        axes.set_ylim(0, 1.08 * below.max())

    sampled = [split for split in SPLITS if weight[split] > 1]
    note = f" Counts of {listed(sampled)} are estimated from {TIMED_REQUESTS:,} requests each." if sampled else ""
    return Picture(
        [draw("time-line", f"Requests per {unit} of train, eval and test", paint, WIDE_SIZE)],
        f"Requests per {unit} (UTC). The dashed lines are the cuts: what is right of one is never seen by what is left "
        f"of it, so that the model is tested on a later time than it was trained on.{note}",
    )


def request_times(files: Sequence[str], most: int) -> np.ndarray:
    """Times int64 [n] of the first requests of a split, microseconds since 1970."""
    spec = {raw_features.REQUEST_TIME: tf.io.FixedLenFeature([], tf.int64)}
    dataset = tf.data.TFRecordDataset(list(files), "GZIP").take(most).batch(5000)
    parsed = dataset.map(lambda batch: tf.io.parse_example(batch, spec)[raw_features.REQUEST_TIME])
    return np.concatenate([np.empty(0, np.int64), *parsed.as_numpy_iterator()])


def anomalies_section(run: FinishedRun) -> Section:
    """What ExampleValidator found that the schema does not say."""
    folder = run.folder("ExampleValidator", "anomalies")
    blocks: list[Block] = []
    if folder is None:
        blocks.append(Prose("ExampleValidator left no report: the run ended before it, or it refused the examples."))
    else:
        with run.reading("ExampleValidator", "anomalies"):
            found = read_anomalies(folder)
        blocks.append(
            Table(
                "Where a split differs from the schema; what is listed here was tolerated, as the run went on",
                ("split", "feature", "what was found", "severity"),
                [(one.split, one.feature, one.text, one.severity) for one in found],
            )
            if found
            else Prose("The statistics of all splits fit the schema.", "good")
        )
    return Section("anomalies", "Anomalies", blocks)


class Anomaly(NamedTuple):
    """Where the statistics of a split do not fit the schema."""

    split: str
    feature: str
    text: str
    severity: str


def read_anomalies(folder: Path) -> list[Anomaly]:
    """The anomalies in an ExampleValidator's output."""
    found = []
    for file in sorted(folder.glob("Split-*/SchemaDiff.pb")):
        anomalies = anomalies_pb2.Anomalies.FromString(file.read_bytes())
        infos = sorted(anomalies.anomaly_info.items())
        if anomalies.HasField("dataset_anomaly_info"):
            infos.append(("all examples", anomalies.dataset_anomaly_info))
        for feature, info in infos:
            severity = anomalies_pb2.AnomalyInfo.Severity.Name(info.severity).lower()
            text = info.description.strip()
            split = file.parent.name.removeprefix("Split-")
            found.append(Anomaly(split, feature, text, severity))
    return found
