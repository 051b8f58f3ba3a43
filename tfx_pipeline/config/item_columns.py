"""Section `features.item`: columns of the catalogue that the model sees of candidates and of history items.

They are tables inside the model, by catalogue row, and no inputs of a request.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tfx_pipeline.config.values import Integer, Section


class CategoricalItemColumn(Section):
    """A column of names, such as a brand, or of several names an item, such as its genres."""

    kind: Literal["categorical"]
    column: str | None = Field(None, min_length=1, description="its name in the catalogue; absent: the feature's")
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
        if self.separator is not None and not self.multiple:
            raise ValueError(f"separator {self.separator!r} is for columns of several values: set multiple: true")
        return self

    @property
    def width(self) -> int:
        """Names that are kept of an item."""
        return self.max_values if self.multiple else 1


class NumericItemColumn(Section):
    """A column of numbers, such as a price."""

    kind: Literal["numeric"]
    column: str | None = Field(None, min_length=1, description="its name in the catalogue; absent: the feature's")
    scaling: Literal["standard", "log", "quantiles"] = Field(
        "standard",
        description="'standard': mean 0 and variance 1 over the catalogue; 'log': the same of the logarithm of 1 + "
        "value, with the value's sign; 'quantiles': cut into `buckets` of as many items each, which are embedded",
    )
    buckets: Integer = Field(10, ge=2, le=1000, description="of 'quantiles'")


ItemColumn = Annotated[CategoricalItemColumn | NumericItemColumn, Field(discriminator="kind")]
