"""Columns of users, of the moment and of candidates: how their values become numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tfx_pipeline.config.values import Integer, Number, Section


class Vocabulary(Section):
    """Which ids get an embedding row of their own; the others share `oov_buckets` rows."""

    min_count: Integer = Field(1, ge=1, description="impressions in train below which an id is out of vocabulary")
    max_size: Integer | None = Field(None, ge=1)
    oov_buckets: Integer = Field(1, ge=1)


class Categorical(Vocabulary):
    """A column of names."""

    kind: Literal["categorical"]
    column: str | None = Field(None, min_length=1, description="its name in the table; absent: the feature's")


class RequestCategorical(Categorical):
    """A column of names of users or of the moment, such as a country, or of several names a row, such as interests."""

    later = frozenset({"multiple", "separator", "max_values"})

    multiple: bool = Field(False, description="whether a row may have several: a list column, or text with `separator`")
    separator: str | None = Field(None, min_length=1, description="of `multiple`: between the names in a text")
    max_values: Integer = Field(
        8, ge=1, le=100, description="of `multiple`: the first different ones count, of a row that has more"
    )

    @model_validator(mode="after")
    def _separates_something(self) -> Self:
        check_separator(self.separator, multiple=self.multiple)
        return self


class Numeric(Section):
    """A column of numbers: scaled to mean 0 and variance 1, or cut into quantile buckets that are embedded."""

    kind: Literal["numeric"]
    scaling: Literal["standard", "quantiles"] = "standard"
    buckets: Integer = Field(10, ge=2, le=1000, description="of 'quantiles'")
    column: str | None = Field(None, min_length=1, description="its name in the table; absent: the feature's")


Column = Annotated[RequestCategorical | Numeric, Field(discriminator="kind")]

Role = Literal["feature", "bias"]


class CandidateCategorical(Categorical):
    """A column of names, with one for each candidate."""

    role: Role = Field(
        "feature",
        description="'bias': how it was shown (position), which explains clicks and is not known when ranking; only "
        "training sees it",
    )
    serving_value: str | None = Field(
        None, min_length=1, description="of 'bias': what everything but training takes it to be; required"
    )

    @model_validator(mode="after")
    def _a_bias_has_one(self) -> Self:
        _check_role(self)
        return self


class CandidateNumeric(Numeric):
    """A column of numbers, with one for each candidate."""

    role: Role = Field("feature", description="as for 'categorical'")
    serving_value: Number | None = Field(None, description="as for 'categorical'")

    @model_validator(mode="after")
    def _a_bias_has_one(self) -> Self:
        _check_role(self)
        return self


CandidateColumn = Annotated[CandidateCategorical | CandidateNumeric, Field(discriminator="kind")]


def check_separator(separator: str | None, *, multiple: bool) -> None:
    """Raises ValueError for a separator of a column that has one value."""
    if separator is not None and not multiple:
        raise ValueError(f"separator {separator!r} is for columns of several values: set multiple: true")


def of_several(columns: Mapping[str, Column]) -> dict[str, RequestCategorical]:
    """Those of the columns that may have several values."""
    return {
        name: column for name, column in columns.items() if isinstance(column, RequestCategorical) and column.multiple
    }


def check_candidate_columns(columns: Mapping[str, CandidateColumn], label: str | None, *, drawn: bool) -> None:
    """Whether columns of candidates could tell the label.

    Args:
        columns: section `features.candidate`.
        label: the log's column of labels.
        drawn: whether negatives are drawn.

    Raises:
        ValueError: one reads the label, or candidates are drawn, which have no row of the log.
    """
    for name, column in columns.items():
        if (column.column or name) == label:
            raise ValueError(
                f"features.candidate.{name}: reads '{label}', which is the label; a request cannot know it"
            )
    if drawn and columns:
        raise ValueError(
            f"features.candidate: {', '.join(columns)}, but negatives are drawn and have no row of the log: a missing "
            "value would tell the label; leave the columns out"
        )


def _check_role(column: CandidateCategorical | CandidateNumeric) -> None:
    if column.role == "bias" and column.serving_value is None:
        raise ValueError(
            "serving_value: absent, and a column with role 'bias' needs one: the value that scores are given for, such "
            "as the first position"
        )
    if column.role == "feature" and column.serving_value is not None:
        raise ValueError(
            f"serving_value: {column.serving_value!r}, but requests carry a column with role 'feature'; leave it out, "
            "or choose role: bias"
        )
