"""`dmf rank`: candidates for one user, scored by an exported model exactly as a server would score them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from serving import contract
from tfx_pipeline.console import Console
from tfx_pipeline.errors import DataError
from tfx_pipeline.trained.candidate_columns import note_on_missing
from tfx_pipeline.trained.candidates import OnlyList, select
from tfx_pipeline.trained.shown_items import item_table, probabilities, without_empty_objectives
from tfx_pipeline.trained.version import Version

# Scores [N] by output of a request, lists and scalars by input name, by an exported version: `score` and, where the
# model has objectives and the scorer asks for them, `score/NAME`.
Scorer = Callable[[Version, Mapping[str, Any]], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class RankedItem:
    """One candidate of a ranking.

    Attributes:
        item: its id.
        score: probability of a click, in [0, 1]; of a model of several objectives, the formula of its contract.
        title: from the catalogue; None where that has none, or is not there.
        train_impressions: how often it was shown in the train split.
        has_content: whether it has content in at least one modality.
        objectives: probability of each objective, of a conditional one p(this given its condition); empty: there is
            one.
    """

    item: str
    score: float
    title: str | None
    train_impressions: int
    has_content: bool
    objectives: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Candidates of one user, ranked by one version of a model.

    Attributes:
        user: user id.
        model: path of the version.
        history: item ids that the model was given, oldest first.
        history_source: where the history comes from, in words.
        ranking: best first.
        excluded_seen: candidates that were left out as the user had clicked them; None: that was not asked for.
        only: what the list of those that may be shown did; None: there is none.
        notes: what a reader must know of it, as sentences.
    """

    user: str
    model: str
    history: list[str]
    history_source: str
    ranking: list[RankedItem]
    excluded_seen: int | None
    only: OnlyList | None
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """What `dmf rank --json` prints."""
        return without_empty_objectives(dataclasses.asdict(self), "ranking")


def rank(
    version: Version,
    user: str,
    *,
    candidates: Sequence[str] | None = None,
    top: int | None = None,
    history: Sequence[str] | None = None,
    sequences: Mapping[str, Sequence[str]] | None = None,
    exclude_seen: bool = False,
    only: Sequence[str] | None = None,
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    scorer: Scorer | None = None,
) -> Ranking:
    """Ranks candidates for one user.

    Args:
        version: the exported model.
        user: user id; an unknown one is answered too.
        candidates: item ids to rank; unknown ones are ranked too.
        top: instead, rank all items the model knows and keep the best `top`.
        history: item ids, oldest first; None: what the logs that the model was trained on say, if they are there.
        sequences: the same of further histories, by name.
        exclude_seen: whether items are left out that the user clicked in these logs, or that are in `history`.
        only: item ids that may be shown; None: all may.
        columns: by candidate column, values by item id, see `read_candidate_columns`; what is not there is missing.
        scorer: who scores, such as a server. None loads the version in this process.

    Raises:
        ModelError: the model cannot be loaded, or what lies beside it cannot be read.
        DataError: no candidates, none that is left, or a `top` below 1; or what the user clicked is not known and is
            to be left out.
    """
    if candidates is None:
        if top is None or top < 1:
            raise DataError(f"--top wants a whole number of at least 1, got {top}")
        candidates = version.items()
    candidates = [item for item in dict.fromkeys(candidates) if item]
    if not candidates:
        raise DataError("there are no candidates to rank")
    known = version.known_of(user, history, sequences)
    seen = version.seen_by(known, history) if exclude_seen else None
    selection = select(version, candidates, only=only, seen=seen)
    candidates = selection.candidates
    request = {
        **version.user_request(user, known),
        contract.CANDIDATE_ITEM_ID: candidates,
        **_of_candidates(version, candidates, columns or {}),
    }
    impressions, has_content = version.item_facts(candidates)
    outputs = (scorer or _score)(version, request)
    scores = outputs[contract.SCORE]
    by_objective = probabilities(version, outputs)
    order = np.argsort(-scores, kind="stable")[: top or None]
    ranked = [
        RankedItem(
            candidates[i],
            score=float(scores[i]),
            title=known.titles.get(candidates[i]),
            train_impressions=int(impressions[i]),
            has_content=bool(has_content[i]),
            objectives={name: float(values[i]) for name, values in by_objective.items()},
        )
        for i in order
    ]
    return Ranking(
        user,
        model=str(version.path),
        history=known.snapshot.history,
        history_source=known.history_source,
        ranking=ranked,
        excluded_seen=selection.excluded_seen,
        only=selection.only,
        notes=[
            *version.notes_on_user(user),
            *version.notes_on_ages(known),
            *note_on_missing([name for name in version.contract.candidate_inputs if name not in (columns or {})]),
            *selection.notes,
            *version.notes_on_formula(),
        ],
    )


def _of_candidates(
    version: Version, candidates: Sequence[str], columns: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[Any]]:
    return {
        name: [columns.get(name, {}).get(item) for item in candidates] for name in version.contract.candidate_inputs
    }


def _score(version: Version, request: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
    from serving.export.servable import request_arrays

    with version.open() as servable:
        outputs = servable.run(contract.RANK, request_arrays(request, version.contract))
    return {name: values[0] for name, values in outputs.items()}


def print_ranking(ranked: Ranking, target: Console) -> None:
    """The ranking as a table."""
    table = item_table(ranked.user, ranked.history, ranked.history_source, ranked.ranking)
    target.print(table)
    for note in ranked.notes:
        target.print(note, highlight=False, soft_wrap=True)
    target.print(f"model: {ranked.model}", soft_wrap=True, highlight=False)
