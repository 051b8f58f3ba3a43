"""The section `split`: which requests train, and which are for eval and test."""

from __future__ import annotations

from pydantic import Field, model_validator

from tfx_pipeline.config.values import Number, Section, UtcTime


class SplitFractions(Section):
    """Shares of the impressions, in time order."""

    train: Number = Field(0.8, gt=0, lt=1)
    eval: Number = Field(0.1, gt=0, lt=1)
    test: Number = Field(0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitFractions:
        total = self.train + self.eval + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + eval + test must be 1, got {total:g}")
        return self


class SplitDates(Section):
    """Requests before `eval_from` train; from it on they are eval; from `test_from` on they are test."""

    eval_from: UtcTime
    test_from: UtcTime

    @model_validator(mode="after")
    def _in_order(self) -> SplitDates:
        if self.eval_from >= self.test_from:
            raise ValueError(f"eval_from {self.eval_from} must be before test_from {self.test_from}")
        return self


class Split(Section):
    """Train, then eval, then test: by shares of the impressions or by dates; exactly one of the two."""

    later = frozenset({"train_from"})

    fractions: SplitFractions | None = None
    dates: SplitDates | None = None
    train_from: UtcTime | None = Field(
        None,
        description="rows before it bring history only: none of their requests is written; shares are of what follows",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Split:
        if (self.fractions is None) == (self.dates is None):
            raise ValueError("give exactly one of 'fractions' and 'dates'")
        if self.dates is not None and self.train_from is not None and self.train_from >= self.dates.eval_from:
            raise ValueError(f"train_from {self.train_from} must be before eval_from {self.dates.eval_from}")
        return self
