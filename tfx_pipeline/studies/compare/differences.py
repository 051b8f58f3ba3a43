"""How models differ from a reference on the test split, and how surely: overall and by item frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfx_pipeline.config.metrics import by_request, metric
from tfx_pipeline.evaluation.bootstrap import RESAMPLED, interval, resampled_metrics
from tfx_pipeline.evaluation.candidate_table import CandidateTable
from tfx_pipeline.files.json_values import plain
from tfx_pipeline.studies.compare.report import Difference, Excess, SliceDifference, Verdict

RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Group:
    """The metrics of all models on some of the rows.

    Attributes:
        observed: [models, seeds] by metric.
        resampled: [models, seeds, resamples] by metric; all groups of the same rows have the same draws of users.
        lower_is_better: metrics of which the smaller value is the better one.
    """

    observed: dict[str, np.ndarray]
    resampled: dict[str, np.ndarray]
    lower_is_better: frozenset[str] = frozenset()

    @classmethod
    def of(cls, tables: Sequence[Sequence[CandidateTable]], rows: np.ndarray, at_k: Sequence[int]) -> Group:
        """Computes the metrics.

        Args:
            tables: of each model, of each seed; all of the same candidates.
            rows: bool [n], those that are judged.
            at_k: of the metrics of the first k candidates of a request.
        """
        trained = [table for seeds in tables for table in seeds]
        resampled = resampled_metrics(
            trained[0].labels,
            trained[0].users,
            [table.probabilities for table in trained],
            requests=trained[0].requests,
            at_k=at_k,
            rows=rows,
            resamples=RESAMPLES,
        )
        shape, names = (len(tables), len(tables[0])), (*RESAMPLED, *by_request(at_k))
        for objective in trained[0].further:
            own = resampled_metrics(
                trained[0].column(objective).labels,
                trained[0].users,
                [table.column(objective).probabilities for table in trained],
                rows=rows,
                resamples=RESAMPLES,
            )
            resampled |= {f"{objective}/{name}": values for name, values in own.items()}
            names = (*names, *(f"{objective}/{name}" for name in own))
        observed = [table.metrics(names, rows) for table in trained]
        return cls(
            {name: np.reshape([values[name] for values in observed], shape) for name in names},
            {name: values.reshape(*shape, RESAMPLES) for name, values in resampled.items()},
            frozenset(name for name in names if metric(name).lower_is_better),
        )

    def differences(self, model: int, reference: int) -> dict[str, Difference]:
        """Model minus reference by metric: mean over seeds, its interval, single seeds, and what follows from them."""
        return {name: self._difference(name, model, reference) for name in self.observed}

    def beyond(self, overall: Group, model: int, reference: int) -> dict[str, Excess]:
        """How much larger the difference of model and reference is here than overall, by metric."""
        found = {}
        for name in self.observed:
            here, there = (_paired(group.observed[name], model, reference) for group in (self, overall))
            samples = _paired(self.resampled[name], model, reference) - _paired(
                overall.resampled[name], model, reference
            )
            low, high = interval(samples.mean(axis=0)) or (None, None)
            found[name] = Excess(plain(float((here - there).mean())), low, high)
        return found

    def slice_differences(self, overall: Group, model: int, reference: int) -> dict[str, SliceDifference]:
        """`differences`, each with how much larger it is here than overall."""
        beyond = self.beyond(overall, model, reference)
        return {
            name: SliceDifference(**vars(value), beyond_overall=beyond[name])
            for name, value in self.differences(model, reference).items()
        }

    def _difference(self, name: str, model: int, reference: int) -> Difference:
        by_seed = _paired(self.observed[name], model, reference)
        ends = interval(_paired(self.resampled[name], model, reference).mean(axis=0))
        low, high = ends or (None, None)
        return Difference(
            mean=plain(float(by_seed.mean())),
            low=low,
            high=high,
            by_seed=plain(by_seed.tolist()),
            std=plain(float(by_seed.std(ddof=1))) if len(by_seed) > 1 else None,
            verdict=verdict(by_seed, ends, lower_is_better=name in self.lower_is_better),
        )


def verdict(by_seed: np.ndarray, ends: tuple[float, float] | None, *, lower_is_better: bool) -> Verdict:
    """`ahead` or `behind` when the interval leaves zero out and all of several seeds say the same; else `undecided`.

    A difference of one training each is `one seed`: the interval is about users and knows nothing of other trainings.

    Args:
        by_seed: observed differences to the reference [seeds].
        ends: the interval of their mean; None: there is none.
        lower_is_better: of the metric.
    """
    if len(by_seed) == 1:
        return "one seed"
    if ends is None or ends[0] <= 0 <= ends[1]:
        return "undecided"
    sign = 1 if ends[0] > 0 else -1
    if not (sign * by_seed > 0).all():
        return "undecided"
    return "ahead" if (sign < 0) == lower_is_better else "behind"


def _paired(values: np.ndarray, model: int, reference: int) -> np.ndarray:
    """[seeds, ...] of [models, seeds, ...]: each seed's model minus the reference of the same seed."""
    difference: np.ndarray = values[model] - values[reference]
    return difference
