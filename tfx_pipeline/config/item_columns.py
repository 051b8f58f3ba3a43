"""Section `features.item`: columns of the catalogue that the model sees of candidates and of history items.

They are tables inside the model, by catalogue row, and no inputs of a request.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tfx_pipeline.config.columns import check_separator
from tfx_pipeline.config.values import Integer, Section


class _ItemColumn(Section):
    """What every column of items has."""

    column: str | None = Field(None, min_length=1, description="its name in the catalogue; absent: the feature's")
    pattern: str | None = Field(
        None,
        description="a regular expression with one group, which is the value where it is found in the text, such as "
        "`\\((\\d{4})\\)` for the year in `Toy Story (1995)`; elsewhere the value is missing",
    )

    @field_validator("pattern")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
            if groups != 1:
                raise ValueError(f"{pattern!r} has {groups} groups; put brackets around the one part that is the value")
        return pattern


class CategoricalItemColumn(_ItemColumn):
    """A column of names, such as a brand, or of several names an item, such as its genres."""

    kind: Literal["categorical"]
    multiple: bool = Field(
        False, description="whether an item may have several: a list column, or text with `separator`"
    )
    separator: str | None = Field(None, min_length=1, description="of `multiple`: between the names in a text")
    max_values: Integer = Field(
        8, ge=1, le=100, description="of `multiple`: the first ones count, of an item that has more"
    )
    min_count: Integer = Field(1, ge=1, description="items with a name below which it counts as unknown")
    max_size: Integer | None = Field(None, ge=1, description="names of their own, the most frequent first")

    @model_validator(mode="after")
    def _separates_something(self) -> CategoricalItemColumn:
        check_separator(self.separator, multiple=self.multiple)
        return self

    @property
    def width(self) -> int:
        """Names that are kept of an item."""
        return self.max_values if self.multiple else 1


class NumericItemColumn(_ItemColumn):
    """A column of numbers, such as a price."""

    kind: Literal["numeric"]
    scaling: Literal["standard", "log", "quantiles"] = Field(
        "standard",
        description="'standard': mean 0 and variance 1 over the catalogue; 'log': the same of the logarithm of 1 + "
        "value, with the value's sign; 'quantiles': cut into `buckets` of as many items each, which are embedded",
    )
    buckets: Integer = Field(10, ge=2, le=1000, description="of 'quantiles'")


ItemColumn = Annotated[CategoricalItemColumn | NumericItemColumn, Field(discriminator="kind")]
