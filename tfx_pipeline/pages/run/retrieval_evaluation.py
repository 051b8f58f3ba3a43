"""What `dmf retrieval evaluate --json` found, on the page of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline.errors import DataError
from tfx_pipeline.files.json_record import JsonRecord, RecordError
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.pages.kit.page import Block, Prose, Table
from tfx_pipeline.pages.kit.wording import between, count, decimal, moment, percent

_DIGITS = 3


@dataclass(frozen=True)
class Estimate:
    """A mean over requests with the ends of its interval; None where there is none."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class EvaluatedList:
    """A retriever, or where `candidates` says how many of its items were ranked, the ranker behind it."""

    retriever: str
    candidates: int | None
    metrics: Mapping[str, Estimate]
    retrieval_weight: float = 0.0


@dataclass(frozen=True)
class WholeRanking:
    """The ranker over all items."""

    model: str
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True)
class RetrievalEvaluation(JsonRecord):
    """What the page shows of an evaluation.

    Attributes:
        pipeline, created, split, at_k, items, requests, confidence: see `dmf retrieval evaluate`.
        lists: retrievers in the order asked for, each followed by the ranker behind it.
        ranker: over all items; None: it was not asked for.
    """

    pipeline: str
    created: str
    split: str
    at_k: Sequence[int]
    items: int
    requests: int
    confidence: float
    lists: Sequence[EvaluatedList]
    ranker: WholeRanking | None


def read_evaluation(file: Path) -> RetrievalEvaluation:
    """What `dmf retrieval evaluate --json` wrote.

    Raises:
        DataError: no such file, or another kind of file.
    """
    try:
        return RetrievalEvaluation.from_json(read_json(file))
    except RecordError as error:
        raise DataError(
            f"--retrieval: {file} is not what `dmf retrieval evaluate --json` writes: {error}; write it anew"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"--retrieval: cannot read {file} as JSON: {error}") from None


def evaluation_blocks(found: RetrievalEvaluation, pipeline: str) -> list[Block]:
    """A table by recall and one by NDCG.

    Args:
        found: the evaluation.
        pipeline: whose run the page is about.

    Raises:
        DataError: it is of another pipeline.
    """
    if found.pipeline != pipeline:
        raise DataError(
            f"--retrieval: the evaluation is of pipeline '{found.pipeline}', the run of '{pipeline}'; give the one "
            "that dmf retrieval evaluate made with the configuration of the run"
        )
    told = (
        f"By dmf retrieval evaluate, {moment(found.created)} UTC: two towers and ranker are those of the newest run of "
        f"that time. Each of {count(found.requests)} requests of {found.split} ranks the {count(found.items)} items of "
        "the catalogue, but for those that the user had before. In brackets: "
        f"{percent(found.confidence, 0)} intervals over users."
    )
    return [Prose(told), _table("recall", "Recall", found), _table("ndcg", "NDCG", found)]


def _table(family: str, title: str, found: RetrievalEvaluation) -> Table:
    named = [(_name(one, found), one.metrics) for one in found.lists]
    if found.ranker is not None and any(name.startswith(f"{family}@") for name in found.ranker.metrics):
        named.append((f"{found.ranker.model}, all items", found.ranker.metrics))
    rows = [(name, *(_cell(metrics.get(f"{family}@{k}")) for k in found.at_k)) for name, metrics in named]
    columns = ("retriever", *(f"{title}@{k}" for k in found.at_k))
    caption = f"{title}, 0 to 1, of {found.split} against the whole catalogue"
    return Table(caption, columns, rows, numbers=len(found.at_k))


def _name(one: EvaluatedList, found: RetrievalEvaluation) -> str:
    name = one.retriever.replace("_", " ")
    ranker = "the ranker" if found.ranker is None else found.ranker.model
    if one.candidates is None:
        return name
    both = f" and {one.retrieval_weight:g} x the score of retrieval" if one.retrieval_weight else ""
    return f"{name}, {count(one.candidates)} ranked by {ranker}{both}"


def _cell(estimate: Estimate | None) -> str:
    if estimate is None or estimate.mean is None:
        return decimal(None)
    mean = decimal(estimate.mean, _DIGITS)
    if estimate.low is None or estimate.high is None:
        return mean
    return f"{mean} ({between((estimate.low, estimate.high), _DIGITS)})"
