"""The section `data`: where the three tables lie, how they are written, and what is tolerated in them."""

from __future__ import annotations

import codecs
import datetime as dt
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tfx_pipeline.config.log_lists import GivenHistory, Impressions
from tfx_pipeline.config.time_unit import TimeUnit, is_format
from tfx_pipeline.config.values import ConfigPath, Fraction, Section, StoredPath, UtcTime

TableFormat = Literal["parquet", "csv", "jsonl"]
Quoting = Literal["rfc4180", "none"]


class Table(Section):
    """Where rows lie: a file, a glob or a directory, in one of three formats."""

    path: StoredPath
    format: TableFormat | None = Field(None, description="taken from the file's ending when absent")
    separator: str = Field(",", min_length=1, max_length=1, description="of CSV columns")
    quoting: Quoting | None = Field(
        None,
        description="of CSV: with 'rfc4180' a field that begins with \" ends at the next one, and may hold separators "
        "and line breaks; with 'none' \" is a character like others; absent: 'none' for .tsv, 'rfc4180' for others",
    )
    escape: str | None = Field(
        None, min_length=1, max_length=1, description="of CSV: makes the next character part of the value, such as \\"
    )
    header: list[str] | None = Field(
        None, min_length=1, description="of CSV: names of all columns, of files whose first line is a row already"
    )
    encoding: str = Field("utf-8", description="of CSV and JSONL, by Python's name, such as latin-1 or utf-16")

    @field_validator("separator", "escape", mode="before")
    @classmethod
    def _not_spelt_out(cls, value: Any) -> Any:
        if isinstance(value, str) and len(value) == 2 and value[0] == "\\":
            raise ValueError(f'{value!r} is two characters; YAML knows \\t and the like in double quotes: "{value}"')
        return value

    @field_validator("header")
    @classmethod
    def _names_columns(cls, names: list[str] | None, info: ValidationInfo) -> list[str] | None:
        for name in names or ():
            if not name or set(name) & {info.data.get("separator"), '"', "\n", "\r"}:
                raise ValueError(f"{name!r} must be a name without separators, quotes and line breaks")
        if names and (twice := sorted({name for name in names if names.count(name) > 1})):
            raise ValueError(f"several columns are named {', '.join(map(repr, twice))}")
        return names

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        try:
            codecs.lookup(name)
            "".encode(name)
        except (LookupError, ValueError):
            raise ValueError(f"{name!r} is no encoding of text that Python knows, such as latin-1 or utf-16") from None
        return name


class InteractionColumns(Section):
    """The names, in the log, of what the pipeline needs of it."""

    later = frozenset({"event", "weight", "history"})

    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    label: str | None = Field("label", description="null: every row is a positive, see `negatives`")
    request: str | None = Field(None, description="request id; without it a request is (user, time)")
    weight: str | None = Field(
        None, description="of an impression in training, at least 0; without it each has 1. Metrics are unweighted"
    )
    event: str | None = Field(
        None,
        description="kind of event of a row, such as view, cart or buy; `history.sequences` makes histories of kinds",
    )
    history: GivenHistory | None = None

    @property
    def given(self) -> list[str]:
        """Those that a row must have."""
        names = (self.user, self.item, self.time, self.label, self.request, self.weight, self.event)
        return [name for name in names if name is not None]


class Interactions(Table):
    """The behaviour log: one row per impression, or per list of impressions."""

    later = frozenset({"impressions"})

    columns: InteractionColumns = InteractionColumns()
    impressions: Impressions | None = None
    time_unit: TimeUnit = "s"

    @model_validator(mode="after")
    def _labels_are_in_one_place(self) -> Interactions:
        if self.columns.label is None and self.impressions is not None and self.impressions.label_separator is not None:
            raise ValueError(
                "columns.label is null, so every impression is a positive, but impressions.label_separator says that "
                "each has a label; leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _times_can_be_told_apart(self) -> Interactions:
        history = self.columns.history
        separator = history.separator if history is not None and history.times is not None else None
        if separator is not None and is_format(self.time_unit) and separator in self.time_unit:
            raise ValueError(
                f"columns.history.separator is {separator!r}, which times of the form {self.time_unit!r} hold too; "
                "write the lists with another separator"
            )
        return self

    @property
    def of_impressions(self) -> list[str]:
        """Columns that say something about an impression: lists, where a row is a list of impressions."""
        pairs = self.impressions is not None and self.impressions.label_separator is not None
        names = (self.columns.item, None if pairs else self.columns.label, self.columns.weight)
        return [name for name in names if name is not None]

    @property
    def of_history(self) -> list[str]:
        """Columns of the history that the log gives."""
        history = self.columns.history
        return [] if history is None else [name for name in (history.column, history.times) if name is not None]

    @property
    def given(self) -> list[str]:
        """Columns that a row must have."""
        labelled = self.columns.label in self.of_impressions
        names = [name for name in self.columns.given if labelled or name != self.columns.label]
        return [*names, *self.of_history]

    @property
    def list_columns(self) -> frozenset[str]:
        """Columns whose values are lists, and not text of several values."""
        lists = self.impressions is not None and self.impressions.separator is None
        names = set(self.of_impressions if lists else ())
        if self.columns.history is not None and self.columns.history.separator is None:
            names.update(self.of_history)
        return frozenset(names)


class ItemTable(Table):
    """The catalogue: every item that may be ranked, trained on or not."""

    id_column: str = "item_id"
    title_column: str | None = None


class UserTable(Table):
    """User profiles; the columns read are those of `features.user`."""

    id_column: str = "user_id"


class Data(Section):
    """The three tables and what is tolerated in them."""

    interactions: Interactions
    items: ItemTable
    users: UserTable | None = None
    schema_file: ConfigPath | None = Field(None, description="curated schema (text proto); inferred when absent")
    max_bad_fraction: Fraction = Field(0.01, description="share of the log's rows that may be unusable")
    max_unknown_items: Fraction = Field(
        0.5, description="share of the impressions whose item may be absent from the catalogue"
    )
    max_unmatched_profiles: Fraction = Field(
        0.9, description="share of the log's users that may be absent from the user table"
    )
    earliest_time: UtcTime = dt.datetime(1990, 1, 1, tzinfo=dt.UTC)
    latest_time: UtcTime = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    fail_on_leakage: bool = True

    @model_validator(mode="after")
    def _times_in_order(self) -> Data:
        if self.earliest_time >= self.latest_time:
            raise ValueError(f"earliest_time {self.earliest_time} must be before latest_time {self.latest_time}")
        return self
