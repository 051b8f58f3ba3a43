"""The section `negatives`: what a log of positives alone gets as not clicked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tfx_pipeline.config.tables import Table
from tfx_pipeline.config.values import Integer, Number, Section

Draws = Annotated[Integer, Field(ge=1, le=100_000)]


class GivenNegatives(Table):
    """A table of negatives, one row a user: of a published protocol, say, with whose figures a run is compared."""

    user_column: str = "user_id"
    items_column: str = Field("negatives", description="a list or, but in JSONL, text with spaces between the ids")


class Negatives(Section):
    """Items drawn for each positive of a request, from those that the user has not had until the end of its split."""

    train: Draws = Field(4, description="per positive")
    eval: Draws | GivenNegatives = Field(99, description="per positive, or a table of them")
    test: Draws | GivenNegatives = Field(99, description="per positive, or a table of them")
    by: Literal["uniform", "popularity"] = Field(
        "uniform", description="of the whole catalogue alike, or by an item's positives in the train split"
    )
    power: Number = Field(0.75, gt=0, le=2, description="of 'popularity': of the count of positives")
    seed: Integer = Field(0, ge=0, lt=2**32)

    def of(self, split: str) -> int | GivenNegatives:
        """How many per positive of the split, or the table that has them."""
        found: int | GivenNegatives = getattr(self, split)
        return found

    @property
    def tables(self) -> dict[str, GivenNegatives]:
        """Tables of negatives by split."""
        return {name: table for name in ("eval", "test") if isinstance(table := self.of(name), GivenNegatives)}
