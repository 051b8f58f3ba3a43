"""Requests with all that was known at their moment: the one way to it, for training examples and for scoring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfx_pipeline.config.schema import History
from tfx_pipeline.data.examples.encoding import Column
from tfx_pipeline.data.examples.history import ages_s, histories
from tfx_pipeline.data.examples.raw_features import LABEL_PREFIX, OF_HISTORY_PREFIX
from tfx_pipeline.data.examples.requests import Request, UserRequests, UserRows


class KnownRequest(NamedTuple):
    """A request, the history it had, oldest first, and the profile's columns and those of its first row by name.

    `history_us`: when the events of the history were, in microseconds; None where the log does not say. `further`: of
    each further history by name its items, and when these events were.
    """

    request: Request
    history: Sequence[bytes]
    columns: dict[str, Column]
    history_us: Sequence[int] | np.ndarray | None
    further: dict[str, tuple[Sequence[bytes], Sequence[int]]]

    def further_for_encoding(self, with_ages: bool) -> dict[str, tuple[Sequence[bytes], np.ndarray | None]]:
        """Of each further history by name its items and, where wanted, their ages in seconds, float32 [L]."""
        return {
            name: (items, ages_s(self.request.time_us, times) if with_ages else None)
            for name, (items, times) in self.further.items()
        }

    def ages_s(self) -> np.ndarray:
        """Seconds, float32 [L], from each event of the history to the request.

        Raises:
            ValueError: the log does not say when they were.
        """
        if self.history_us is None:
            raise ValueError("the log gives histories without times, which have no ages")
        return ages_s(self.request.time_us, self.history_us)


def known_requests(
    rows: UserRows,
    formed: UserRequests,
    profile: Mapping[str, Column],
    history: History,
    wanted: Sequence[int] | None = None,
) -> Iterator[KnownRequest]:
    """One user's requests, each with what was known of the user strictly before it.

    Histories are those that the log gives or, where it gives none, made of the user's earlier events.

    Args:
        rows: of the user.
        formed: `form_requests` of them.
        profile: of the user, by column.
        history: the section of the configuration.
        wanted: indices of requests, ascending; None: all of them.
    """
    not_of_requests = (LABEL_PREFIX, OF_HISTORY_PREFIX)
    columns = {name: column for name, column in rows.columns.items() if not name.startswith(not_of_requests)}
    requests = formed.requests if wanted is None else [formed.requests[index] for index in wanted]
    known: Iterable[tuple[Sequence[bytes], Sequence[int] | np.ndarray | None]]
    if rows.given is not None:
        given = rows.given
        known = (given.at(request.first_row).known_at(request.time_us, history) for request in requests)
    else:
        known = histories(
            formed.event_times,
            formed.event_items,
            [request.time_us for request in requests],
            history.max_length,
            history.delay_us,
        )
    times_us = [request.time_us for request in requests]
    further = {
        name: histories(*formed.further_events[name], times_us, sequence.max_length, history.delay_us)
        for name, sequence in history.sequences.items()
    }
    for request, (items, times) in zip(requests, known, strict=True):
        context = {name: column[request.first_row] for name, column in columns.items()}
        yield KnownRequest(
            request, items, {**profile, **context}, times, {name: next(each) for name, each in further.items()}
        )
