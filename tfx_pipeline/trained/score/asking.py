"""Users' rows -> requests as they were at their moment -> scores of the rows."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving import contract
from serving.export.servable import Servable
from serving.messages import first_line
from tfx_pipeline.data.examples.assembly import known_requests
from tfx_pipeline.data.examples.encoding import encode
from tfx_pipeline.data.examples.raw_features import LABEL_PREFIX
from tfx_pipeline.data.examples.requests import RowTuple, UserRows, form_requests
from tfx_pipeline.data.logs.cleaning import column_names
from tfx_pipeline.data.logs.profiles import Profile, first_profile
from tfx_pipeline.errors import ModelError
from tfx_pipeline.trained.score.reading import Sources

# Padded candidates of one call: bounds the memory of a model's call, however many candidates a request has.
_CANDIDATES = 1 << 16
# Calls that are made ready at once, so that requests of similar length go together and little is padded.
_CALLS_AHEAD = 32


class Question(NamedTuple):
    """A request as a serialised `tf.Example`, and the numbers of its candidates' rows in the log."""

    example: bytes
    places: list[int]


class Scores:
    """Of every good row of the log. A row stands for a candidate of its request, or repeats one and has no score.

    Attributes:
        outputs: by name of the model's output, float32 [rows]: `score`, and of several objectives `score/NAME`.
        kept: bool [rows], whether a row stands for a candidate.
        positive: bool [rows], whether one of the rows of that candidate has label 1.
        further_positive: the same of labels of objectives beside the main one, by name.
        requests, without_history, users, without_profile: how many there were.
    """

    def __init__(self, rows: int, outputs: Iterable[str] = (contract.SCORE,), further: Iterable[str] = ()) -> None:
        self.outputs = {name: np.zeros(rows, np.float32) for name in outputs}
        self.kept = np.zeros(rows, bool)
        self.positive = np.zeros(rows, bool)
        self.further_positive = {name: np.zeros(rows, bool) for name in further}
        self.requests = self.without_history = self.users = self.without_profile = 0


def questions(
    rows: Iterable[tuple[str, RowTuple]], profiles: Iterable[tuple[str, Profile]], sources: Sources, scores: Scores
) -> Iterator[Question]:
    """The requests of some users that have a row in the log to be scored.

    Requests are formed of the rows of both logs together, as ingestion would form them of one log: a row that both
    have counts once, and a history holds what either says of the time before the request.

    Args:
        rows: all chunks of these users.
        profiles: all profiles of these users.
        sources: of both.
        scores: where rows and requests are counted.
    """
    config, kinds = sources.own, sources.own.profile | sources.own.context
    chunks_of: dict[str, list[RowTuple]] = defaultdict(list)
    for user, chunk in rows:
        chunks_of[user].append(chunk)
    profiles_of: dict[str, list[Profile]] = defaultdict(list)
    for user, profile in profiles:
        profiles_of[user].append(profile)
    for user, chunks in chunks_of.items():
        user_rows = UserRows.from_chunks(chunks, column_names(config))
        further = {name: user_rows.columns.pop(LABEL_PREFIX + name) for name in config.labels}
        formed = form_requests(user_rows, sources.cut_times, config.history.events)
        asked = _asked(user_rows, formed.request_of, sources.first_ordinal, scores, further)
        if not asked:
            # Of a user whose hash is that of another.
            continue
        found = first_profile(profiles_of.get(user, ()), config)
        scores.users += 1
        scores.without_profile += found is None and config.data.users is not None
        wanted = sorted(asked)
        for index, known in zip(
            wanted, known_requests(user_rows, formed, found or {}, config.history, wanted), strict=True
        ):
            request, history, columns, *_ = known
            scores.requests += 1
            scores.without_history += not history
            standing = list(asked[index].values())
            shown = dataclasses.replace(request, candidates=list(asked[index]), labels=[])
            of_candidates = {name: [user_rows.columns[name][row] for row in standing] for name in config.candidate}
            ages = known.ages_s() if config.history_ages else None
            beside = known.further_for_encoding(config.history_ages)
            example = encode(
                user.encode(), history, shown, "", columns, kinds, None, of_candidates, config.candidate, ages, beside
            )
            yield Question(example, user_rows.row[standing].tolist())


def _asked(
    rows: UserRows, request_of: list[int], first_ordinal: int, scores: Scores, further: Mapping[str, list[float]]
) -> dict[int, dict[bytes, int]]:
    """By request, the row that stands for each of its items, an index: the first of them in the order of events.

    Args:
        rows: of a user.
        request_of: see `UserRequests`.
        first_ordinal: of the files of the log to be scored.
        scores: where candidates and their labels are noted.
        further: labels of the rows for objectives beside the main one, by name.
    """
    asked: dict[int, dict[bytes, int]] = {}
    own = np.flatnonzero(rows.file >= first_ordinal)
    # Lists, as this runs for every row of the log.
    places, labels, standing = rows.row.tolist(), rows.label[own].tolist(), list[int]()
    for index in own.tolist():
        standing.append(places[asked.setdefault(request_of[index], {}).setdefault(rows.item[index], index)])
    scores.kept[standing] = True
    scores.positive[[place for place, label in zip(standing, labels, strict=True) if label]] = True
    for name, of_rows in further.items():
        positive = [place for place, index in zip(standing, own.tolist(), strict=True) if of_rows[index]]
        scores.further_positive[name][positive] = True
    return asked


def ask(servable: Servable, asked: Iterable[Question], scores: Scores, batch: int) -> Iterator[int]:
    """Scores requests by the exported model's `serving_default`, as the Evaluator does.

    Args:
        servable: the exported model.
        asked: the requests.
        scores: gets theirs.
        batch: the most requests of a call.

    Yields:
        After each call how many rows it scored.

    Raises:
        ModelError: the model fails over a request.
    """
    for call in _calls(asked, batch):
        try:
            examples = np.array([question.example for question in call], object)
            answer = servable.run(contract.SERVING_DEFAULT, {"examples": examples})
        except (KeyError, ValueError, tf.errors.OpError) as error:
            raise ModelError(f"the exported model fails over a request: {first_line(error)}") from None
        counts = np.array([len(question.places) for question in call])
        places = np.fromiter(chain.from_iterable(question.places for question in call), np.int64)
        # Behind a request's own candidates is padding.
        for name, values in scores.outputs.items():
            found = answer[name]
            values[places] = found[np.arange(found.shape[1]) < counts[:, np.newaxis]]
        yield len(places)


def _calls(asked: Iterable[Question], batch: int) -> Iterator[list[Question]]:
    ahead: list[Question] = []
    for question in asked:
        ahead.append(question)
        if len(ahead) >= batch * _CALLS_AHEAD:
            yield from _cut(ahead, batch)
            ahead = []
    yield from _cut(ahead, batch)


def _cut(ahead: list[Question], batch: int) -> Iterator[list[Question]]:
    call: list[Question] = []
    for question in sorted(ahead, key=lambda one: len(one.places)):
        if call and (len(call) == batch or (len(call) + 1) * len(question.places) > _CANDIDATES):
            yield call
            call = []
        call.append(question)
    if call:
        yield call
