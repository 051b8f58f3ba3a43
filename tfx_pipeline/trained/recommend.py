"""`dmf recommend`: a page for one user out of the whole catalogue, as a server of the exported model would make it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from serving import contract
from tfx_pipeline.console import Console
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.trained.by_index import recommend_by_index
from tfx_pipeline.trained.candidate_columns import note_on_missing
from tfx_pipeline.trained.shown_items import item_table, probabilities, without_empty_objectives
from tfx_pipeline.trained.version import Version

# Outputs [K] of `recommend` by name, by an exported version: of the user's part of a request, k, and excluded items.
Recommender = Callable[[Version, Mapping[str, Any], int, Sequence[str]], Mapping[str, np.ndarray]]


EXACT, APPROXIMATE = "exact search", "approximate index"


@dataclasses.dataclass(frozen=True)
class RecommendedItem:
    """One item of a page.

    Attributes:
        item: its id.
        score: of the ranker: probability of a click; of a model of several objectives, the formula of its contract.
        retrieval_rank: its place in retrieval, from 1 on.
        retrieval_score: its score there, which is no probability.
        title: from the catalogue; None where that has none, or is not there.
        train_impressions: how often it was shown in the train split.
        has_content: whether it has content in at least one modality.
        objectives: probability of each objective, of a conditional one p(this given its condition); empty: there is
            one.
        page_score: what orders the page, where retrieval's score has a part in that; None: `score` orders it.
    """

    item: str
    score: float
    retrieval_rank: int
    retrieval_score: float
    title: str | None
    train_impressions: int
    has_content: bool
    objectives: Mapping[str, float] = dataclasses.field(default_factory=dict)
    page_score: float | None = None


@dataclasses.dataclass(frozen=True)
class Page:
    """A page for one user, retrieved and ranked by one version of a model.

    Attributes:
        user: user id.
        model: path of the version.
        history: item ids that the model was given, oldest first.
        history_source: where the history comes from, in words.
        catalogue: items that are retrieved from.
        ranked: how many of them are retrieved and ranked, at most.
        excluded: distinct ids that were not to be on the page, those that the catalogue lacks included.
        retrieved_by: `exact search` or `approximate index`.
        excluded_seen: how many of these as the user had clicked them; None: that was not asked for.
        page: best first; shorter than was asked for, perhaps empty, where exclusion leaves no more.
        notes: what a reader must know of it, as sentences.
    """

    user: str
    model: str
    history: list[str]
    history_source: str
    catalogue: int
    ranked: int
    excluded: int
    excluded_seen: int | None
    page: list[RecommendedItem]
    notes: list[str]
    retrieved_by: str = EXACT

    def to_json(self) -> dict[str, Any]:
        """What `dmf recommend --json` prints."""
        values = without_empty_objectives(dataclasses.asdict(self), "page")
        for entry in values["page"]:
            if entry["page_score"] is None:
                del entry["page_score"]
        return values


def recommend(
    version: Version,
    user: str,
    *,
    top: int,
    history: Sequence[str] | None = None,
    sequences: Mapping[str, Sequence[str]] | None = None,
    exclude: Sequence[str] = (),
    exclude_seen: bool = False,
    approximate: bool = False,
    recommender: Recommender | None = None,
) -> Page:
    """Makes a page for one user out of the whole catalogue.

    Args:
        version: the exported model.
        user: user id; an unknown one is answered too.
        top: items on the page.
        history: item ids, oldest first; None: what the logs that the model was trained on say, if they are there.
        sequences: the same of further histories, by name.
        exclude: ids of items that must not be on the page; unknown ones are no error.
        exclude_seen: whether items are left out that the user clicked in these logs, or that are in `history`.
        approximate: whether items are retrieved by the index beside the model, and not by a look at each.
        recommender: who answers, such as a server. None loads the version in this process.

    Raises:
        ModelError: the model has no retrieval stage, or no index where one is asked for; it cannot be loaded, or what
            lies beside it cannot be read.
        DataError: a `top` below 1 or above what the model ranks; or what the user clicked is not known and is to be
            left out.
    """
    found = version.contract
    if contract.RECOMMEND not in found.signatures:
        raise ModelError(
            f"{version.path} has no retrieval stage; train and push a model with `stages: {{retrieval: ...}}` in the "
            f"configuration, or let this one rank the whole catalogue: dmf rank --model {version.path} --top {top}"
        )
    most = min(found.ranked_candidates, found.retrieval_items)
    if not 1 <= top <= most:
        raise DataError(
            f"--top wants a whole number from 1 to {most:,}, got {top:,}; the model retrieves and ranks "
            f"{found.ranked_candidates:,} (stages.ranking.candidates) of {found.retrieval_items:,} items"
        )
    known = version.known_of(user, history, sequences)
    seen = version.seen_by(known, history) if exclude_seen else None
    excluded = sorted({item for item in (*exclude, *(seen or ())) if item})
    notes: list[str] = []
    outputs: Mapping[str, np.ndarray]
    if approximate and recommender is None:
        outputs, told = recommend_by_index(version, version.user_request(user, known), top, excluded)
        notes.append(told)
    else:
        outputs = (recommender or _recommend)(version, version.user_request(user, known), top, excluded)
    items = [item.decode() for item in outputs[contract.ITEM_ID].tolist() if item]
    impressions, has_content = version.item_facts(items)
    by_objective = probabilities(version, outputs)
    page = [
        RecommendedItem(
            item,
            score=float(outputs[contract.SCORE][place]),
            retrieval_rank=int(outputs[contract.RETRIEVAL_RANK][place]),
            retrieval_score=float(outputs[contract.RETRIEVAL_SCORE][place]),
            title=known.titles.get(item),
            train_impressions=int(impressions[place]),
            has_content=bool(has_content[place]),
            objectives={name: float(values[place]) for name, values in by_objective.items()},
            page_score=float(outputs[contract.PAGE_SCORE][place]) if contract.PAGE_SCORE in outputs else None,
        )
        for place, item in enumerate(items)
    ]
    return Page(
        user,
        model=str(version.path),
        history=known.snapshot.history,
        history_source=known.history_source,
        catalogue=found.retrieval_items,
        ranked=found.ranked_candidates,
        excluded=len(excluded),
        excluded_seen=None if seen is None else len(seen),
        page=page,
        retrieved_by=APPROXIMATE if approximate else EXACT,
        notes=[
            *notes,
            *_note_on_length(len(items), top),
            *_note_on_order(found.retrieval_weight),
            *version.notes_on_user(user),
            *version.notes_on_ages(known),
            *note_on_missing(list(found.candidate_inputs)),
            *version.notes_on_formula(),
        ],
    )


def _note_on_length(length: int, top: int) -> list[str]:
    if length == top:
        return []
    return [f"items left of the catalogue for a page of {top:,}: {length:,}; the others are excluded"]


def _note_on_order(weight: float) -> list[str]:
    if not weight:
        return []
    return [f"order of the page: logit(score) + {weight:g} x retrieval score (stages.ranking.retrieval_weight)"]


def _recommend(
    version: Version, request: Mapping[str, Any], k: int, exclude: Sequence[str]
) -> Mapping[str, np.ndarray]:
    from serving.export.servable import retrieval_arrays

    with version.open() as servable:
        outputs = servable.run(contract.RECOMMEND, retrieval_arrays(request, k, exclude, version.contract))
    return {name: values[0] for name, values in outputs.items()}


def print_page(page: Page, target: Console) -> None:
    """The page as a table."""
    further: dict[str, Callable[[RecommendedItem], str]] = {
        "retrieved as": lambda entry: f"{entry.retrieval_rank:,}",
        "retrieval score": lambda entry: f"{entry.retrieval_score:.4f}",
    }
    if any(entry.page_score is not None for entry in page.page):
        further["page score"] = lambda entry: f"{entry.page_score:.4f}"
    table = item_table(page.user, page.history, page.history_source, page.page, further)
    target.print(table)
    seen = "" if page.excluded_seen is None else f", {page.excluded_seen:,} of them as the user had them"
    by_index = "" if page.retrieved_by == EXACT else f", retrieved by the {page.retrieved_by}"
    notes = [f"items: {page.catalogue:,} to retrieve from, up to {page.ranked:,} of them ranked{by_index}"]
    notes += [f"ids left out: {page.excluded:,}{seen}"] if page.excluded or seen else []
    for note in [*notes, *page.notes]:
        target.print(note, highlight=False, soft_wrap=True)
    target.print(f"model: {page.model}", soft_wrap=True, highlight=False)
