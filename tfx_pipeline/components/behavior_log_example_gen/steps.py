"""The Beam steps between log files and split examples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from tfx_pipeline.components.behavior_log_example_gen.negative_steps import ReadNegatives, negative_pool
from tfx_pipeline.components.behavior_log_example_gen.writing import ShardKey, WriteShard, pack, shard_count, shard_of
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.tables import Table
from tfx_pipeline.data.examples.assembly import known_requests
from tfx_pipeline.data.examples.audit import Audit, UserAuditor
from tfx_pipeline.data.examples.encoding import encode
from tfx_pipeline.data.examples.negatives import NegativePool, UserNegatives
from tfx_pipeline.data.examples.requests import Request, UserRequests, UserRows, form_requests, split_by_user
from tfx_pipeline.data.examples.splits import Cuts, QuantileCuts, histogram
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.cleaning import clean, column_names, microseconds, refusing_column
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.profiles import Profile, first_profile, read_profiles
from tfx_pipeline.data.logs.quarantine import BadRow, FirstBadRows
from tfx_pipeline.data.logs.reader import Piece, log_batches, pieces, read_piece
from tfx_pipeline.data.logs.tally import MergeTallies, Tally, TallyingDoFn
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.writing import write_text

# Lower edges of the histogram of history lengths in the report.
LENGTH_EDGES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_MAX_COUNTED_ITEMS = 200_000
_MAX_BUFFERED_BYTES = 16 << 20


class ReadLog(TallyingDoFn):
    """Piece -> (user, rows of one batch); `BAD_ROWS`: lists of bad rows; `TIMES`: histograms of impression times."""

    BAD_ROWS, TIMES = "bad_rows", "times"

    def __init__(self, config: IngestionConfig) -> None:
        self._config = config

    def process(self, piece: Piece) -> Iterator[Any]:  # noqa: D102
        split = self._config.split
        with_times = split.fractions is not None
        train_from_us = None if split.train_from is None else microseconds(split.train_from)
        try:
            config = self._config
            for batch in log_batches(piece, config.data.interactions, config.log_columns, config.log_lists):
                cleaned = clean(batch, piece.file, self._config)
                self.tally.add("rows_read", count=batch.size)
                self.tally.add("rows_good", count=cleaned.good_rows)
                self.tally.add("impressions_read", count=len(cleaned.good.row))
                for kind, count in cleaned.good.kinds.items():
                    self.tally.add("events", kind, count=count)
                for kind in cleaned.good.other_kinds:
                    self.tally.show("other_kind", text=kind)
                for reason, count in cleaned.bad_counts.items():
                    self.tally.add("quarantined", reason, count=count)
                for column, count in cleaned.no_number.items():
                    self.tally.add("not_a_number", column, count=count)
                if cleaned.bad_rows:
                    yield beam.pvalue.TaggedOutput(self.BAD_ROWS, cleaned.bad_rows)
                if with_times:
                    times = cleaned.good.time_us
                    times = times if train_from_us is None else times[times >= train_from_us]
                    yield beam.pvalue.TaggedOutput(self.TIMES, histogram(times))
                yield from split_by_user(cleaned.good, piece.file.ordinal)
        except DataError as error:
            # Counted, not raised: Beam would bury the message in a traceback of its own. The executor stops the run.
            self.tally.add("unreadable", str(error))


class ReadProfiles(TallyingDoFn):
    """Piece of the user table -> (user, profile)."""

    def __init__(self, config: IngestionConfig) -> None:
        self._config = config

    def process(self, piece: Piece) -> Iterator[tuple[str, Profile]]:  # noqa: D102
        try:
            for batch in read_piece(piece, self._config.profile_columns, self._config.profile_lists):
                self.tally.add("rows", "users", count=batch.size)
                self.tally.add("profiles", "malformed", count=len(batch.malformed))
                yield from read_profiles(batch, piece.file, self._config, self.tally)
        except DataError as error:
            self.tally.add("unreadable", str(error))


class ReadItemIds(TallyingDoFn):
    """Piece of the catalogue -> (item, 0)."""

    def __init__(self, id_column: str) -> None:
        self._id_column = id_column

    def process(self, piece: Piece) -> Iterator[tuple[bytes, int]]:  # noqa: D102
        try:
            for batch in read_piece(piece, [self._id_column]):
                self.tally.add("rows", "items", count=batch.size)
                with refusing_column(piece.file, self._id_column, batch):
                    ids = values.text(batch.columns[self._id_column]).cast(pa.large_binary())
                yield from ((item, 0) for item in ids.drop_null().to_pylist())
        except DataError as error:
            self.tally.add("unreadable", str(error))


class BuildExamples(TallyingDoFn):
    """(user, {rows, profiles, negatives}) -> ((split, shard), packed examples); `ITEMS`: (item, impressions).

    Each example goes through the audit before it goes out. Side inputs: the cuts, the number of shards per split, and
    what negatives are drawn from (None: the log has its own).
    """

    ROWS, PROFILES, NEGATIVES, EXAMPLES, ITEMS = "rows", "profiles", "negatives", "examples", "items"

    def __init__(self, config: IngestionConfig) -> None:
        self._config = config
        self._kinds = config.profile | config.context

    def start_bundle(self) -> None:  # noqa: D102
        super().start_bundle()
        self._items: Counter[bytes] = Counter()
        self._examples: dict[ShardKey, list[bytes]] = defaultdict(list)
        self._example_bytes = 0

    def process(  # noqa: D102
        self, element: tuple[str, dict[str, Iterable[Any]]], cuts: Cuts, shards: int, pool: NegativePool | None
    ) -> Iterator[beam.pvalue.TaggedOutput]:
        user, grouped = element[0].encode(), element[1]
        profiles = list(grouped[self.PROFILES])
        profile = first_profile(profiles, self._config)
        self.tally.add("profiles", "duplicate_user", count=len(profiles) - 1 if profiles else 0)
        chunks = list(grouped[self.ROWS])
        if profile is not None:
            self.tally.show("user_with_profile", text=element[0])
        if not chunks:
            return
        self.tally.add("users")
        if profile is None and self._config.data.users is not None:
            self.tally.add("users_without_profile")
            self.tally.show("user_without_profile", text=element[0])
        rows = UserRows.from_chunks(chunks, column_names(self._config))
        formed = form_requests(rows, cuts.times, self._config.history.events)
        written = [index for index, request in enumerate(formed.requests) if cuts.holds(request.time_us)]
        negatives = None
        if pool is not None and self._config.negatives is not None:
            given = dict(sorted(grouped[self.NEGATIVES]))
            negatives = UserNegatives(user, formed.requests, cuts, self._config.negatives, pool, given)
            if rows.given is not None:
                negatives.had(rows.given.before(rows.time_us))
        config = self._config
        ages = config.history_ages
        auditor = UserAuditor(
            user, rows, cuts, config.history, negatives is not None, config.candidate, config.context, ages
        )
        by_split: dict[str, list[Request]] = defaultdict(list)
        for known in known_requests(rows, formed, profile or {}, config.history, written):
            request, history, columns, *_ = known
            split = cuts.split_of(request.time_us)
            weights = rows.weight[request.rows].tolist() if rows.weight is not None else None
            if negatives is not None:
                request = self._complete(request, split, negatives, element[0])
                if weights is not None:
                    weights += [1.0] * (len(request.candidates) - len(request.rows))
            by_split[split].append(request)
            shown = {name: [rows.columns[name][row] for row in request.rows] for name in config.candidate}
            since = known.ages_s() if ages else None
            further = known.further_for_encoding(ages)
            data = encode(
                user, history, request, split, columns, self._kinds, weights, shown, config.candidate, since, further
            )
            auditor.check(split, data)
            self._examples[split, shard_of(data, shards)].append(data)
            self._example_bytes += len(data)
            if self._example_bytes > _MAX_BUFFERED_BYTES:
                yield from self._flush_examples()
        self._count(formed, by_split)
        self._count_audit(auditor.finish())
        if len(self._items) > _MAX_COUNTED_ITEMS:
            yield from self._flush_items()

    def _complete(self, request: Request, split: str, negatives: UserNegatives, user: str) -> Request:
        completed = negatives.complete(request, split)
        if len(completed.candidates) == len(request.candidates):
            self.tally.add("without_negatives", split)
            self.tally.show("without_negatives", split, text=user)
        return completed

    def finish_bundle(self) -> Iterator[beam.pvalue.TaggedOutput]:  # noqa: D102
        for output in (*self._flush_examples(), *self._flush_items()):
            yield beam.pvalue.TaggedOutput(output.tag, GlobalWindows.windowed_value(output.value))
        yield from super().finish_bundle()

    def _flush_examples(self) -> list[beam.pvalue.TaggedOutput]:
        shards = self._examples.items()
        outputs = [beam.pvalue.TaggedOutput(self.EXAMPLES, (key, pack(examples))) for key, examples in shards]
        self._examples = defaultdict(list)
        self._example_bytes = 0
        return outputs

    def _flush_items(self) -> list[beam.pvalue.TaggedOutput]:
        outputs = [beam.pvalue.TaggedOutput(self.ITEMS, item) for item in self._items.items()]
        self._items = Counter()
        return outputs

    def _count(self, formed: UserRequests, by_split: dict[str, list[Request]]) -> None:
        written = sum(len(request.rows) for requests in by_split.values() for request in requests)
        self.tally.add("history_only", count=sum(len(request.rows) for request in formed.requests) - written)
        self.tally.add("duplicates", count=formed.duplicates)
        self.tally.add("merged_labels", count=formed.merged_labels)
        for split, requests in by_split.items():
            self.tally.add("requests", split, count=len(requests))
            self.tally.add("impressions", split, count=sum(len(request.candidates) for request in requests))
            self.tally.add("positives", split, count=sum(sum(request.labels) for request in requests))
            for name in requests[0].further_labels:
                positives = sum(sum(request.further_labels[name]) for request in requests)
                self.tally.add("further_positives", name, split, count=positives)
            self.tally.add("negatives", split, count=sum(len(one.candidates) - len(one.rows) for one in requests))
            self.tally.range("time_us", split, low=requests[0].time_us, high=requests[-1].time_us)
            # What was drawn has no row, and comes last.
            self._items.update(item for request in requests for item in request.candidates[: len(request.rows)])

    def _count_audit(self, audit: Audit) -> None:
        self.tally.add("audited", count=audit.checked)
        for rule, count in audit.violations.items():
            self.tally.add("violations", rule, count=count)
        for fact, count in audit.given.items():
            self.tally.add("given_history", fact, count=count)
        for edge, count in _by_length(audit.history_lengths):
            self.tally.add("history_length", edge, count=count)
        for name, lengths in audit.further_lengths.items():
            for edge, count in _by_length(lengths):
                self.tally.add("further_length", name, edge, count=count)
        if audit.newest_age_us is not None and audit.oldest_age_us is not None:
            self.tally.range("history_age_us", low=audit.newest_age_us, high=audit.oldest_age_us)


def _by_length(lengths: list[int]) -> Iterator[tuple[str, int]]:
    bins = np.searchsorted(LENGTH_EDGES, lengths, side="right") - 1
    for edge, count in enumerate(np.bincount(bins).tolist()):
        yield str(LENGTH_EDGES[edge]), count


class CountItems(TallyingDoFn):
    """(item, {"seen": [impressions], "catalogue": [0, ...]}) -> nothing but the tally of known and unknown items."""

    def process(self, element: tuple[bytes, dict[str, Iterable[int]]]) -> None:  # noqa: D102
        item, counts = element[0].decode(), element[1]
        impressions, known = sum(counts["seen"]), bool(list(counts["catalogue"]))
        self.tally.show("item_in_catalogue" if known else "item_not_in_catalogue", text=item)
        if impressions:
            self.tally.add("items", "distinct")
            if not known:
                self.tally.add("items", "not_in_catalogue")
                self.tally.add("items", "impressions_not_in_catalogue", count=impressions)


class TallyCuts(TallyingDoFn):
    """Cuts -> nothing but a tally that holds them."""

    def process(self, cuts: Cuts) -> None:  # noqa: D102
        self.tally.range("cuts_us", low=cuts.eval_from_us, high=cuts.test_from_us)


class LogsToExamples(beam.PTransform):
    """Pipeline -> paths of the shards it wrote; beside them it writes `tally_path` and `quarantine_path`.

    Args:
        config: what to read and how.
        split_uris: folder of each split.
        tally_path: where the merged `Tally` goes, as JSON.
        quarantine_path: where the bad rows go, as JSON lines.
    """

    def __init__(
        self, config: IngestionConfig, split_uris: dict[str, str], tally_path: str, quarantine_path: str
    ) -> None:
        super().__init__()
        self._config = config
        self._split_uris = split_uris
        self._tally_path = tally_path
        self._quarantine_path = quarantine_path

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:  # noqa: D102
        config, data = self._config, self._config.data
        tallies = []

        def read(name: str, table: Table, step: TallyingDoFn, *tags: str) -> Any:
            result = (
                pipeline
                | f"{name}Files" >> beam.Create(list_files(table), reshuffle=False)
                | f"{name}Pieces" >> beam.FlatMap(pieces)
                | f"Spread{name}" >> beam.Reshuffle()
                | f"Read{name}" >> beam.ParDo(step).with_outputs(step.TALLY, *tags, main=name)
            )
            tallies.append(result[step.TALLY])
            return result

        log = read("Log", data.interactions, ReadLog(config), ReadLog.BAD_ROWS, ReadLog.TIMES)
        grouped = {BuildExamples.ROWS: log["Log"]}
        if data.users is not None:
            grouped[BuildExamples.PROFILES] = read("Profiles", data.users, ReadProfiles(config))["Profiles"]
        else:
            grouped[BuildExamples.PROFILES] = pipeline | "NoProfiles" >> beam.Create([])
        if config.split.fractions is not None:
            cuts = log[ReadLog.TIMES] | "QuantileCuts" >> QuantileCuts(config.split.fractions)
        else:
            assert config.split.dates is not None, "a split is given by fractions or by dates"
            cuts = pipeline | "DateCuts" >> beam.Create([Cuts.from_dates(config.split.dates)])
        if config.split.train_from is not None:
            cuts |= "TrainFrom" >> beam.Map(Cuts.after, config.split.train_from)
        shards = beam.pvalue.AsSingleton(
            log[ReadLog.TALLY]
            | "SumRows" >> beam.CombineGlobally(MergeTallies())
            | "CountShards" >> beam.Map(lambda tally: shard_count(tally.counts[_size(config),]))
        )
        catalogue = read("Items", data.items, ReadItemIds(data.items.id_column))["Items"]
        pool, given = None, []
        if config.negatives is not None:
            made, tally = negative_pool(config.negatives, catalogue, log["Log"], cuts)
            pool = beam.pvalue.AsSingleton(made)
            tallies.append(tally)
            for split, table in config.negatives.tables.items():
                name = f"{split.title()}Negatives"
                given.append(read(name, table, ReadNegatives(split, table))[name])
        grouped[BuildExamples.NEGATIVES] = given | beam.Flatten() if given else pipeline | beam.Create([])
        build = BuildExamples(config)
        built = (
            grouped
            | "GroupByUser" >> beam.CoGroupByKey()
            | "BuildExamples"
            >> beam.ParDo(build, beam.pvalue.AsSingleton(cuts), shards, pool).with_outputs(
                build.TALLY, build.ITEMS, build.EXAMPLES
            )
        )
        items = {
            "seen": built[build.ITEMS] | "SumItems" >> beam.CombinePerKey(sum),
            "catalogue": catalogue,
        }
        counted = items | "JoinItems" >> beam.CoGroupByKey() | "CountItems" >> beam.ParDo(CountItems()).with_outputs()
        cut_tally = cuts | "TallyCuts" >> beam.ParDo(TallyCuts()).with_outputs()
        tallies += [built[build.TALLY], counted[TallyingDoFn.TALLY], cut_tally[TallyingDoFn.TALLY]]
        _ = (
            tallies
            | "Tallies" >> beam.Flatten()
            | "MergeTallies" >> beam.CombineGlobally(MergeTallies())
            | "WriteTally" >> beam.Map(_write_tally, self._tally_path)
        )
        _ = (
            log[ReadLog.BAD_ROWS]
            | "FirstBadRows" >> beam.CombineGlobally(FirstBadRows())
            | "WriteQuarantine" >> beam.Map(_write_quarantine, self._quarantine_path)
        )
        return (
            built[build.EXAMPLES]
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShards" >> beam.ParDo(WriteShard(self._split_uris), shards)
        )


def _size(config: IngestionConfig) -> str:
    """Of the tally: how many impressions there are, of a log of single ones the bad rows among them."""
    return "rows_read" if config.data.interactions.impressions is None else "impressions_read"


def _write_tally(tally: Tally, path: str) -> None:
    write_text(path, tally.to_json())


def _write_quarantine(rows: list[BadRow], path: str) -> None:
    write_text(path, "".join(f"{row.to_json()}\n" for row in rows))
