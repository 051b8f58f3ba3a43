"""A log to be scored, beside what its model was trained on: rows and profiles, brought together by user."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from serving.contract import LOGS_FILE, METADATA_FILE
from serving.export.metadata import read_json
from serving.messages import first_line
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.tables import InteractionColumns
from tfx_pipeline.data.examples.raw_features import LABEL_PREFIX
from tfx_pipeline.data.examples.requests import split_by_user
from tfx_pipeline.data.examples.splits import Cuts
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.checks import check_log, check_users
from tfx_pipeline.data.logs.cleaning import Cleaned, clean, column_names, microseconds, refusing_column
from tfx_pipeline.data.logs.files import LogFile, list_files
from tfx_pipeline.data.logs.impressions import shown
from tfx_pipeline.data.logs.profiles import read_profiles
from tfx_pipeline.data.logs.quarantine import REASONS, BadRow, FirstBadRows, examples, faults
from tfx_pipeline.data.logs.reader import RawBatch, log_batches, peek, read_file
from tfx_pipeline.data.logs.tally import Tally
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.files.spill import MAX_PARTS, Spill
from tfx_pipeline.trained.score.report import Watch
from tfx_pipeline.trained.version import Version

# Of files, for each part of a spill: what a part holds is in memory at once, as Python's values.
_BYTES_A_PART = 8 << 20


@dataclasses.dataclass(frozen=True)
class Sources:
    """What is read for scoring.

    Attributes:
        own: of the model: the log and the user table that it was trained on.
        asked: the same, with the log to be scored in place of the model's own.
        cut_times: microseconds at which the model's splits begin: no request of ingestion goes over one.
        first_ordinal: of the files of the log to be scored, where files of both logs are ordered.
    """

    own: IngestionConfig
    asked: IngestionConfig
    cut_times: tuple[int, ...]
    first_ordinal: int

    @classmethod
    def of(cls, version: Version, log: Path) -> Sources:
        """Finds and checks them; no row is read.

        Raises:
            ModelError: the model does not say what logs it was trained on.
            DataError: a log or the user table is not there, or lacks a column.
        """
        try:
            own = version.ingestion()
            # How items were shown is no input of a model that is asked.
            given = {name: kind for name, kind in own.candidate.items() if name in version.contract.candidate_inputs}
            own = own.model_copy(update={"candidate": given})
            cut_times = _cut_times(version, own)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{version.path} does not say how its logs are read ({LOGS_FILE}, {METADATA_FILE}): "
                f"{first_line(error)}; a model that `dmf run` has pushed does"
            ) from None
        columns = own.data.interactions.columns.model_copy(update={"weight": None})
        if columns.label is None:
            # Every row of the model's own log is a positive. Of those to be scored nobody knows.
            columns = columns.model_copy(update={"label": InteractionColumns().label})
        interactions = own.data.interactions.model_copy(update={"path": log, "columns": columns})
        data = own.data.model_copy(update={"interactions": interactions})
        asked = own.model_copy(update={"data": data})
        check_log("the log to be scored", asked, labelled=False)
        try:
            check_log("data.interactions", own)
            check_users(own)
            return cls(own, asked, cut_times, len(list_files(own.data.interactions)))
        except DataError as error:
            raise DataError(
                f"{error}\nHistories and profiles are made of what the model was trained on: "
                "put those files, or links to them, back where they were"
            ) from None

    @property
    def parts(self) -> int:
        """In how many parts users are taken, so that a part fits into memory."""
        data = self.own.data
        tables = (self.asked.data.interactions, data.interactions, *([data.users] if data.users else []))
        size = sum(file.size for table in tables for file in list_files(table))
        return min(MAX_PARTS, 1 + size // _BYTES_A_PART)

    def batches(self) -> Iterator[AskedBatch]:
        """The log to be scored, in the order of its rows, the same each time.

        Raises:
            DataError: a file is damaged.
        """
        for file in list_files(self.asked.data.interactions):
            labelled = self._is_labelled(file)
            config = self._with_further_labels(file) if labelled else _without_labels(self.asked)
            config = _without_absent_events(config, file)
            columns = [
                name for name in config.log_columns if labelled or name != config.data.interactions.columns.label
            ]
            for batch in log_batches(file, config.data.interactions, columns, config.log_lists):
                cleaned = clean(batch, file, config)
                yield AskedBatch(file, batch.size, labelled, frozenset(config.labels), self._all_labels(cleaned))

    def _with_further_labels(self, file: LogFile) -> IngestionConfig:
        """The configuration with the labels of further objectives that a labelled file has."""
        there = peek(file).columns
        found = {name: label for name, label in self.asked.labels.items() if label.column in there}
        known = {self.asked.data.interactions.columns.label, *(label.column for label in found.values())}
        # A condition that the file does not tell cannot be held against a row.
        checked = {
            name: label if label.given in known else label.model_copy(update={"given": None})
            for name, label in found.items()
        }
        return self.asked.model_copy(update={"labels": checked})

    def _all_labels(self, cleaned: Cleaned) -> Cleaned:
        """The batch with a column for the label of each further objective, 0 where the file has none."""
        good = cleaned.good
        absent = np.zeros(len(good.row), np.float32)
        labels = {name: good.columns.get(name, absent) for name in map(LABEL_PREFIX.__add__, self.own.labels)}
        columns = {name: (good.columns | labels)[name] for name in column_names(self.own)}
        return dataclasses.replace(cleaned, good=dataclasses.replace(good, columns=columns))

    def _is_labelled(self, file: LogFile) -> bool:
        """Whether a file has labels: a column of them, or pairs of an item and its label."""
        log = self.asked.data.interactions
        if log.columns.label in log.of_impressions:
            return log.columns.label in peek(file).columns
        # Pairs are in the same column as items alone would be. Where one of the first has a label, all must.
        batches = log_batches(file, log, self.asked.log_columns, self.asked.log_lists)
        first = next((batch for batch in batches if len(batch.rows)), None)
        if first is None:
            return False
        seen = shown(first.columns, log, lambda column: refusing_column(file, column, first))
        return bool(seen.labelled.any())


class AskedBatch(NamedTuple):
    """A batch of the log to be scored: how many rows were read, and what is good.

    Attributes:
        labelled: whether the file has labels.
        further: of which objectives beside the main one it has them too.
    """

    file: LogFile
    rows: int
    labelled: bool
    further: frozenset[str]
    cleaned: Cleaned


def _without_labels(config: IngestionConfig) -> IngestionConfig:
    """The configuration of a log that has no labels: items alone where it has pairs, and no such columns."""
    log = config.data.interactions
    lists = log.impressions.model_copy(update={"label_separator": None}) if log.impressions is not None else None
    data = config.data.model_copy(update={"interactions": log.model_copy(update={"impressions": lists})})
    return config.model_copy(update={"data": data, "labels": {}})


def _without_absent_events(config: IngestionConfig, file: LogFile) -> IngestionConfig:
    """The configuration for a file of the log to be scored: what is to be scored need be no event of any kind."""
    log = config.data.interactions
    if log.columns.event is None or log.columns.event in peek(file).columns:
        return config
    columns = log.columns.model_copy(update={"event": None})
    data = config.data.model_copy(update={"interactions": log.model_copy(update={"columns": columns})})
    return config.model_copy(update={"data": data})


@dataclasses.dataclass(frozen=True)
class LogRows:
    """What was found in the log to be scored.

    Attributes:
        usable: number of the impressions of its good rows, which count from 0 in the order of the log.
        labelled: whether one of its files has labels.
        further: objectives beside the main one of which one of its files has labels.
        users: uint64 [users], ascending: hashes of their ids.
        bad_rows: the first of those that cannot be used.
        tally: `rows_read`, `quarantined` by reason, `not_a_number` by column.
    """

    usable: int
    labelled: bool
    further: frozenset[str]
    users: np.ndarray
    bad_rows: list[BadRow]
    tally: Tally


def read_log(sources: Sources, spill: Spill, watch: Watch) -> LogRows:
    """Reads the log to be scored. Chunks of rows (`split_by_user`) go to the spill, with numbers of impressions.

    Raises:
        DataError: a file is damaged, or no row can be used.
    """
    tally, first_bad, hashes = Tally(), FirstBadRows(), list[np.ndarray]()
    bad_rows: list[BadRow] = first_bad.create_accumulator()
    usable, labelled, further = 0, False, frozenset[str]()
    for file, rows, has_labels, has_further, cleaned in sources.batches():
        good = cleaned.good
        labelled |= has_labels
        further |= has_further
        tally.add("rows_read", count=rows)
        for reason, count in cleaned.bad_counts.items():
            tally.add("quarantined", reason, count=count)
        for column, count in cleaned.no_number.items():
            tally.add("not_a_number", column, count=count)
        bad_rows = first_bad.add_input(bad_rows, cleaned.bad_rows)
        numbered = dataclasses.replace(good, row=np.arange(usable, usable + len(good.row)))
        spill.add(split_by_user(numbered, sources.first_ordinal + file.ordinal))
        hashes.append(np.unique(_hashes(good.user.cast(pa.large_string()))))
        usable += len(good.row)
        watch("reading the log", usable, None)
    bad_rows = first_bad.extract_output(bad_rows)
    if not usable:
        raise DataError(_unusable(sources, tally, bad_rows))
    return LogRows(usable, labelled, further, np.unique(np.concatenate(hashes)), bad_rows, tally)


def read_own(sources: Sources, users: np.ndarray, spill: Spill, watch: Watch) -> None:
    """Reads the log that the model was trained on. Chunks of rows of the users asked for go to the spill.

    Args:
        sources: of it.
        users: hashes of their ids, ascending.
        spill: for chunks of rows, with the ordinals of their own files.
        watch: is told.

    Raises:
        DataError: a file is damaged.
    """
    done, config = 0, sources.own
    for file in list_files(config.data.interactions):
        for batch in log_batches(file, config.data.interactions, config.log_columns, config.log_lists):
            known = _of_users(batch, file, config.data.interactions.columns.user, users)
            spill.add(split_by_user(clean(known, file, config).good, file.ordinal))
            done += batch.size
            watch("reading the model's own log", done, None)


def read_users(sources: Sources, users: np.ndarray, spill: Spill, watch: Watch) -> None:
    """Reads the user table, where the model has one. Profiles (`read_profiles`) of the users asked for go to the spill.

    Raises:
        DataError: a file is damaged.
    """
    done, config, table = 0, sources.own, sources.own.data.users
    for file in list_files(table) if table is not None else []:
        assert table is not None, "it has files"
        for batch in read_file(file, config.profile_columns, config.profile_lists):
            known = _of_users(batch, file, table.id_column, users)
            spill.add(read_profiles(known, file, config, Tally()))
            done += batch.size
            watch("reading profiles", done, None)


def _cut_times(version: Version, own: IngestionConfig) -> tuple[int, ...]:
    if own.split.dates is not None:
        return Cuts.from_dates(own.split.dates).after(own.split.train_from).times
    metadata = read_json(version.path, METADATA_FILE)
    if metadata is None:
        raise FileNotFoundError(f"there is no {METADATA_FILE}")
    cuts = Cuts(*(microseconds(dt.datetime.fromisoformat(metadata["data"]["cuts"][name])) for name in _CUTS))
    return cuts.after(own.split.train_from).times


_CUTS = ("eval_from", "test_from")


def _unusable(sources: Sources, tally: Tally, bad_rows: list[BadRow]) -> str:
    data, read = sources.asked.data, tally.counts["rows_read",]
    if not read:
        return f"the log to be scored: no rows in {data.interactions.path}; expected at least one"
    shown = examples((row.to_json() for row in bad_rows), data.interactions.columns)
    lines = faults({reason: tally.counts["quarantined", reason] for reason in REASONS}, data, shown)
    return "\n".join([f"none of the {read:,} rows of {data.interactions.path} can be used:", *lines])


def _of_users(batch: RawBatch, file: LogFile, column: str, users: np.ndarray) -> RawBatch:
    with refusing_column(file, column, batch):
        hashes = _hashes(values.text(batch.columns[column]))
    places = np.searchsorted(users, hashes).clip(max=len(users) - 1)
    return batch.where(users[places] == hashes)


def _hashes(texts: pa.Array) -> np.ndarray:
    """uint64 [n]; equal hashes of different users only make that more is read than is needed."""
    encoded = pc.fill_null(texts, "").dictionary_encode()
    distinct = pd.util.hash_array(encoded.dictionary.to_numpy(zero_copy_only=False), categorize=False)
    hashes: np.ndarray = distinct[encoded.indices.to_numpy(zero_copy_only=False)]
    return hashes
