"""One user's present state, straight from the logs: what a request made now would carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.tables import UserTable
from tfx_pipeline.data.examples.history import ages_s
from tfx_pipeline.data.examples.requests import UserRows, form_requests, split_by_user
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.checks import check_sources
from tfx_pipeline.data.logs.cleaning import clean, column_names, microseconds
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.profiles import first_profile, read_profiles
from tfx_pipeline.data.logs.reader import RawBatch, log_batches, read_file
from tfx_pipeline.data.logs.tally import Tally

Column = str | float | list[str] | None


class UserSnapshot(NamedTuple):
    """What a request of the user carries: history item ids, oldest first, and profile and context columns.

    A column is a string, a float, or None where it is missing, and of several values a list of strings. Context is
    that of the user's last request, and so is the history where the log gives it.
    `history_time_us` has the times of the history's items, or nothing where they are not known. `clicked`: all items
    that the user clicked, not only those of the history; None where that is not known. `now_us`: the latest time of the
    whole log, where ages are asked for. `further`: of each further history by name its items, oldest first, and their
    times.
    """

    history: list[str]
    columns: dict[str, Column]
    history_time_us: Sequence[int] = ()
    clicked: frozenset[str] | None = None
    now_us: int | None = None
    further: Mapping[str, tuple[list[str], Sequence[int]]] = MappingProxyType({})

    @property
    def history_age_s(self) -> list[float | None]:
        """Seconds, until the latest time of the log, of each item of the history; None where not known."""
        return self._ages_s(self.history, self.history_time_us)

    @property
    def further_age_s(self) -> dict[str, list[float | None]]:
        """The same of each further history, by name."""
        return {name: self._ages_s(*each) for name, each in self.further.items()}

    def _ages_s(self, items: list[str], times: Sequence[int]) -> list[float | None]:
        if self.now_us is None or not len(times):
            return [None] * len(items)
        found: list[float | None] = list(ages_s(self.now_us, times).tolist())
        return found


def user_snapshot(config: IngestionConfig, user: str) -> UserSnapshot:
    """Reads the log and the user table for one user; an unknown user has an empty history and no columns.

    Raises:
        DataError: the files are not there, cannot be read or lack a column.
    """
    check_sources(config)
    chunks = []
    now_us = None
    names = config.data.interactions.columns
    for file in list_files(config.data.interactions):
        for batch in log_batches(file, config.data.interactions, config.log_columns, config.log_lists):
            if config.history_ages:
                now_us = _latest(batch, config, now_us)
            own = _rows_of(batch, names.user, user)
            if len(own.rows):
                chunks += [chunk for _, chunk in split_by_user(clean(own, file, config).good, file.ordinal)]
    columns: dict[str, Column] = {}
    history: list[str] = []
    times: list[int] = []
    clicked: frozenset[str] = frozenset()
    further: dict[str, tuple[list[str], Sequence[int]]] = {name: ([], ()) for name in config.history.sequences}
    if chunks:
        rows = UserRows.from_chunks(chunks, column_names(config))
        clicked = frozenset(rows.item[index].decode() for index in np.flatnonzero(rows.label))
        if rows.given is not None:
            # What the log said of the user last; a click since then is in nobody's history yet.
            last = rows.given.at(-1).known_at(int(rows.time_us[-1]), config.history)
            items, times = last.items, last.time_us.tolist() if last.time_us is not None else []
            clicked |= {item.decode() for item in rows.given.items}
        else:
            formed = form_requests(rows, events=config.history.events)
            items = formed.event_items[-config.history.max_length :]
            times = formed.event_times[-config.history.max_length :]
            for name, sequence in config.history.sequences.items():
                times_of, items_of = formed.further_events[name]
                known = [item.decode() for item in items_of[-sequence.max_length :]]
                further[name] = (known, times_of[-sequence.max_length :])
        history = [item.decode() for item in items]
        columns |= {name: _plain(rows.columns[name][-1]) for name in config.context}
    if config.data.users is not None:
        columns |= _profile(config.data.users, config, user)
    return UserSnapshot(history, columns, times, clicked, now_us, further)


def _latest(batch: RawBatch, config: IngestionConfig, before: int | None) -> int | None:
    """The latest time of a batch, or that of those before it; times that ingestion refuses are none."""
    log = config.data.interactions
    times, valid = values.times(batch.columns[log.columns.time], log.time_unit)
    valid &= (times >= microseconds(config.data.earliest_time)) & (times <= microseconds(config.data.latest_time))
    latest = times[valid].max(initial=-1 if before is None else before)
    return int(latest) if latest >= 0 else None


def _rows_of(batch: RawBatch, column: str, user: str) -> RawBatch:
    mask = pc.fill_null(pc.equal(values.text(batch.columns[column]), pa.scalar(user, pa.large_string())), False)
    return batch.where(mask.to_numpy(zero_copy_only=False))


def _profile(table: UserTable, config: IngestionConfig, user: str) -> dict[str, Column]:
    for file in list_files(table):
        for batch in read_file(file, config.profile_columns, config.profile_lists):
            profiles = read_profiles(_rows_of(batch, table.id_column, user), file, config, Tally())
            profile = first_profile((found for _, found in profiles), config)
            if profile is not None:
                return {name: _plain(value) for name, value in profile.items()}
    return {}


def _plain(value: Any) -> Column:
    if isinstance(value, list):
        return [name.decode() for name in value]
    if isinstance(value, bytes):
        return value.decode()
    return None if value is None or (isinstance(value, float) and np.isnan(value)) else value
