"""Of the log: cells that hold several values, a list of impressions or a history."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tfx_pipeline.config.values import Section


class Impressions(Section):
    """A row of the log is a list of impressions: the item column holds all items that were shown together."""

    separator: str | None = Field(
        None, min_length=1, description="between the values of a cell of text; absent: cells are lists"
    )
    label_separator: str | None = Field(
        None,
        min_length=1,
        description="a value is an item and its label, as N1-0, told apart at the last of these; absent: labels are a "
        "list of their own, in columns.label",
    )

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Impressions:
        if self.separator is not None and self.label_separator is not None and self.label_separator in self.separator:
            raise ValueError(
                f"label_separator {self.label_separator!r} stands in separator {self.separator!r}; they must differ"
            )
        return self


class GivenHistory(Section):
    """The log gives the histories: a row says what the user had clicked before it."""

    column: str = Field(min_length=1, description="of the items")
    times: str | None = Field(
        None, min_length=1, description="column of the moments of these events, as many, by time_unit"
    )
    separator: str | None = Field(
        None, min_length=1, description="between the values of a cell of text; absent: cells are lists"
    )
    order: Literal["oldest_first", "newest_first"] = Field(
        "oldest_first", description="of the values in a cell; with times these decide"
    )
