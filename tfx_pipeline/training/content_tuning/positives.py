"""What behaviour says of pairs of items: an item, and one that the same user clicked before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfx_pipeline.evaluation.requests import Requests

# Draws of a history item before a click is left out for this epoch.
_DRAWS = 8


class Batch(NamedTuple):
    """Clicks with an item of their history and what was shown beside them, rows of the catalogue [B].

    Attributes:
        users: int64, numbers of users.
        anchors: items of the history.
        clicked: items that were clicked after them.
        shown: [B, H], others of the same request.
        shown_allowed: bool [B, H], whether each is one that the user is never seen to click.
    """

    users: np.ndarray
    anchors: np.ndarray
    clicked: np.ndarray
    shown: np.ndarray
    shown_allowed: np.ndarray


class Positives:
    """The clicks of a split that follow a click, and batches of them.

    Args:
        rows: requests of the train split, and of no other: nothing else is learned from.
        present: bool [items], which have content; others are left out.
        hard: items of the same request, shown and not clicked, that a batch has beside each click; 0: none.

    Attributes:
        clicks: how many there are.
        users: who made them.
        log_q: float32 [items], log of an item's share of the clicks; of an item without any as if it had one.
    """

    def __init__(self, rows: Requests, present: np.ndarray, hard: int):
        self._rows, self._present, self._hard = rows, present, hard
        usable = (rows.history >= 0) & present[rows.history]
        of_history = np.repeat(np.arange(len(rows.counts)), rows.history_lengths)
        has_history = np.bincount(of_history[usable], minlength=len(rows.counts)) > 0
        request = rows.request_of_candidate
        clicked = rows.labels & (rows.candidates >= 0) & present[rows.candidates] & has_history[request]
        self._places = np.flatnonzero(clicked)
        self._request = request[self._places]
        self._starts, self._history_starts = rows.candidate_starts, rows.history_starts
        self.clicks = len(self._places)
        counts = np.bincount(rows.candidates[self._places], minlength=len(present))
        self.log_q = np.log(np.maximum(counts, 1) / max(self.clicks, 1)).astype(np.float32)
        self._users = np.unique(rows.users, return_inverse=True)[1]
        self.users = len(np.unique(self._users[self._request]))
        self._had = self._pairs_had(of_history, request)
        self._had_starts = np.searchsorted(self._had, np.arange(self._users.max(initial=-1) + 2) * len(present))

    def _pairs_had(self, of_history: np.ndarray, request: np.ndarray) -> np.ndarray:
        """Sorted keys of all pairs of a user and an item that the user clicked, in a request or in a history."""
        rows, items = self._rows, len(self._present)
        keys = [
            self._users[of_history] * items + np.where(rows.history >= 0, rows.history, -1),
            self._users[request[rows.labels]] * items + rows.candidates[rows.labels],
        ]
        known = [rows.history >= 0, rows.candidates[rows.labels] >= 0]
        return np.unique(np.concatenate([each[mask] for each, mask in zip(keys, known, strict=True)]))

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """All clicks once in random order, each with one item of its history drawn anew.

        A click whose draws find nothing but itself and items without content is left out; so is a last batch of one.
        """
        for places in np.array_split(rng.permutation(self.clicks), max(1, -(-self.clicks // size))):
            clicked = self._rows.candidates[self._places[places]]
            anchors = self._draw_anchors(self._request[places], clicked, rng)
            kept = anchors >= 0
            if kept.sum() > 1:
                yield self._batch(places[kept], anchors[kept], clicked[kept], rng)

    def never_clicked(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """bool [B, N]: whether each item [N] is one that each user [B] is never seen to click."""
        distinct, column = np.unique(items, return_inverse=True)
        starts, ends = self._had_starts[users], self._had_starts[users + 1]
        lengths = ends - starts
        line = np.repeat(np.arange(len(users)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        had = self._had[np.repeat(starts, lengths) + within] % len(self._present)
        place = np.minimum(np.searchsorted(distinct, had), len(distinct) - 1)
        same = distinct[place] == had
        never = np.ones((len(users), len(distinct)), bool)
        never[line[same], place[same]] = False
        return never[:, column]

    def _draw_anchors(self, requests: np.ndarray, clicked: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """An item of each request's history, not the clicked one; -1 where the draws found none."""
        rows, anchors = self._rows, np.full(len(requests), -1)
        for _ in range(_DRAWS):
            left = np.flatnonzero(anchors < 0)
            if not len(left):
                break
            lengths = rows.history_lengths[requests[left]]
            drawn = rows.history[self._history_starts[requests[left]] + rng.integers(lengths)]
            good = (drawn >= 0) & self._present[drawn] & (drawn != clicked[left])
            anchors[left[good]] = drawn[good]
        return anchors

    def _batch(self, places: np.ndarray, anchors: np.ndarray, clicked: np.ndarray, rng: np.random.Generator) -> Batch:
        rows, requests, users = self._rows, self._request[places], self._users[self._request[places]]
        counts, starts = rows.counts[requests][:, None], self._starts[requests][:, None]
        own = self._places[places][:, None] - starts
        others = np.maximum(counts - 1, 1)
        step = (rng.integers(others) + np.arange(self._hard)) % others
        shown_places = starts + (own + 1 + step) % counts
        shown = rows.candidates[shown_places]
        distinct = np.arange(self._hard) < counts - 1
        allowed = distinct & ~rows.labels[shown_places] & (shown >= 0) & self._present[shown]
        keys = users[:, None] * len(self._present) + shown
        place = np.minimum(np.searchsorted(self._had, keys), len(self._had) - 1)
        allowed &= self._had[place] != keys
        return Batch(users, anchors, clicked, np.where(shown >= 0, shown, 0), allowed)
