"""Metrics of a model's quality, by name: those that a configuration may name, and what tables and pages show of them.

`tfx_pipeline.evaluation.metrics` computes them. Some are of the first k candidates of a request, `hr@5` say; which k
there are, `evaluation.at_k` of the configuration says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema

from tfx_pipeline.config.spelling import did_you_mean


class Metric(NamedTuple):
    """How a metric is read.

    Attributes:
        title: its name on a page.
        unit: or range, in words.
        lower_is_better: of two models.
        shown: in summaries, comparisons and pages; any metric can have thresholds.
    """

    title: str
    unit: str
    lower_is_better: bool = False
    shown: bool = True


METRICS = {
    "auc": Metric("AUC", "0.5 to 1"),
    "gauc": Metric("GAUC", "0.5 to 1"),
    "gauc_equal": Metric("GAUC of equal users", "0.5 to 1", shown=False),
    "log_loss": Metric("log loss", "nats", lower_is_better=True),
    "normalized_entropy": Metric("normalised entropy", "share of the base rate's", lower_is_better=True),
    "calibration": Metric("calibration", "predicted / observed clicks"),
    # Of requests: with those at k they have tables of their own.
    "mrr": Metric("MRR", "0 to 1", shown=False),
    "request_auc": Metric("AUC by request", "0.5 to 1", shown=False),
}
# Of the first k candidates of a request: NAME@k is the metric.
AT_K = {"hr": Metric("HR", "0 to 1", shown=False), "ndcg": Metric("NDCG", "0 to 1", shown=False)}
DEFAULT_AT_K = (5, 10)
SHOWN = tuple(name for name, metric in METRICS.items() if metric.shown)
# What models are compared and tuned by, the first before all: each has intervals of its differences, as those of
# `by_request` do.
COMPARED = ("gauc", "auc", "log_loss")

_AT_K = re.compile(rf"({'|'.join(AT_K)})@([1-9]\d*)")


def of_objective(name: str) -> tuple[str, str]:
    """Objective and metric of a name such as `buy/auc`; one without a prefix is of the main objective, "".

    A metric of a conditional objective is of the probability that it happens, its condition included, on all
    impressions.
    """
    objective, _, metric = name.rpartition("/")
    return objective, metric


def objectives_in(names: Iterable[str]) -> list[str]:
    """Objectives beside the main one that metrics are of, in the order in which they first stand there."""
    return list(dict.fromkeys(objective for objective, _ in map(of_objective, names) if objective))


def with_objectives(names: Iterable[str], further: Iterable[str]) -> tuple[str, ...]:
    """Metrics of the main objective, then the same of each further one."""
    names = tuple(names)
    return (*names, *(f"{objective}/{name}" for objective in further for name in names))


def by_request(at_k: Iterable[int] = DEFAULT_AT_K) -> tuple[str, ...]:
    """Names of the metrics of ranking within requests."""
    return (*(f"{family}@{k}" for family in AT_K for k in at_k), "mrr", "request_auc")


def cut_offs(names: Iterable[str]) -> list[int]:
    """Every k among names of metrics, rising; those of the default where there is none, as in what older runs wrote."""
    return sorted({k for k in map(cut_off, names) if k is not None}) or list(DEFAULT_AT_K)


def outlined(names: Iterable[str]) -> tuple[str, ...]:
    """Of the metrics of requests, those that a table has room for: of several k the last."""
    return by_request(cut_offs(names)[-1:])


def compared(at_k: Iterable[int]) -> tuple[str, ...]:
    """Names of all metrics that models are compared by."""
    return (*COMPARED, *by_request(at_k))


def metric(name: str) -> Metric:
    """How a metric is read.

    Raises:
        KeyError: there is none of that name.
    """
    objective, name = of_objective(name)
    found = _AT_K.fullmatch(name)
    family = AT_K[found[1]]._replace(title=f"{AT_K[found[1]].title}@{found[2]}") if found else METRICS[name]
    return family._replace(title=f"{objective}: {family.title}") if objective else family


def cut_off(name: str) -> int | None:
    """The k of a metric of the first k candidates; None of any other."""
    found = _AT_K.fullmatch(of_objective(name)[1])
    return int(found[2]) if found else None


def _known(names: Sequence[str]) -> Any:
    """A type: one of the names, or a metric of the first k candidates."""
    listed = [*names, *(f"{family}@K" for family in AT_K)]

    def check(name: str, info: ValidationInfo) -> str:
        # Which objectives there are, the whole configuration knows.
        if of_objective(name)[1] in names or cut_off(name) is not None:
            return name
        given = info.data.get("at_k", DEFAULT_AT_K)
        meant = did_you_mean(name, [*names, *by_request(given)])
        hint = f"; {meant}" if meant else ""
        raise ValueError(f"unknown metric{hint}; allowed: {', '.join(listed)}")

    return Annotated[str, AfterValidator(check), WithJsonSchema({"type": "string", "enum": listed})]


if TYPE_CHECKING:
    MetricName = str
    ComparedMetric = str
else:  # so that a configuration's unknown name is refused with the list of those that exist
    MetricName = _known(tuple(METRICS))
    ComparedMetric = _known((*COMPARED, "mrr", "request_auc"))
