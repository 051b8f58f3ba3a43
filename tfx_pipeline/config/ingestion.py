"""What ingestion needs of the configuration, and nothing else: a change elsewhere must not invalidate its cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

from pydantic import Field

from tfx_pipeline.config.columns import of_several
from tfx_pipeline.config.negatives import Negatives
from tfx_pipeline.config.objectives import FurtherLabel, further_labels
from tfx_pipeline.config.schema import ColumnKind, History, PipelineConfig
from tfx_pipeline.config.split import Split
from tfx_pipeline.config.tables import Data
from tfx_pipeline.config.values import Section


class IngestionConfig(Section):
    """Tables, history, split, and the kind of each profile, context and candidate column.

    How a column or an age is embedded (vocabulary size, buckets) is left out on purpose: it does not change what is
    written.
    """

    later = frozenset({"candidate", "history_ages", "labels", "multiple", "negatives"})

    data: Data
    history: History = History()
    split: Split
    negatives: Negatives | None = None
    profile: dict[str, ColumnKind] = {}
    context: dict[str, ColumnKind] = {}
    candidate: dict[str, ColumnKind] = {}
    columns: dict[str, str] = Field({}, description="names in the tables, of features that have another")
    multiple: dict[str, str | None] = Field(
        {}, description="profile and context features of several values, and what separates them in a text"
    )
    labels: dict[str, FurtherLabel] = Field({}, description="of the objectives beside the main one")
    history_ages: bool = Field(False, description="whether ages of the history's events are written")

    @classmethod
    def of(cls, config: PipelineConfig) -> IngestionConfig:
        """The part of `config` that decides what ingestion writes."""
        features = config.features
        unused = {"schema_file": None, "items": config.data.items.model_copy(update={"title_column": None})}
        parts: tuple[Mapping[str, Any], ...] = (features.user, features.context, features.candidate)
        return cls(
            data=config.data.model_copy(update=unused),
            history=config.history.model_copy(update={"age_buckets": None}),
            history_ages=config.history.age_buckets is not None,
            split=config.split,
            negatives=config.negatives,
            profile={name: column.kind for name, column in features.user.items()},
            context={name: column.kind for name, column in features.context.items()},
            candidate={name: column.kind for name, column in features.candidate.items()},
            multiple={
                name: column.separator for name, column in of_several({**features.user, **features.context}).items()
            },
            labels=further_labels(config.objectives, config.data.interactions.columns),
            columns={
                name: column.column
                for name, column in chain(*(part.items() for part in parts))
                if column.column is not None and column.column != name
            },
        )

    def to_json(self) -> str:
        """Canonical JSON: equal configurations give equal strings; read back by `model_validate_json`."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    def column(self, feature: str) -> str:
        """Name in its table of a profile, context or candidate feature."""
        return self.columns.get(feature, feature)

    @property
    def of_rows(self) -> dict[str, ColumnKind]:
        """Kinds of all features that a row of the log has: context and candidate columns."""
        return self.context | self.candidate

    @property
    def beside_items(self) -> tuple[str, ...]:
        """Columns of the log that say more of an impression: of candidate features and of the further labels."""
        return tuple(dict.fromkeys((*self.label_columns, *map(self.column, self.candidate))))

    @property
    def log_lists(self) -> frozenset[str]:
        """Columns of the log whose values may be lists, beside those of `data.interactions` itself."""
        lists = frozenset(self.column(name) for name in self.multiple if name in self.context)
        impressions = self.data.interactions.impressions
        return lists.union(self.beside_items if impressions is not None and impressions.separator is None else ())

    @property
    def profile_lists(self) -> frozenset[str]:
        """Columns of the user table whose values may be lists."""
        return frozenset(self.column(name) for name in self.multiple if name in self.profile)

    @property
    def label_columns(self) -> list[str]:
        """Columns of the labels beside the main one."""
        return [label.column for label in self.labels.values()]

    @property
    def profile_columns(self) -> tuple[str, ...]:
        """Columns read from the user table, each once; there is one."""
        assert self.data.users is not None, "the configuration has a user table"
        return tuple(dict.fromkeys((self.data.users.id_column, *map(self.column, self.profile))))

    @property
    def log_columns(self) -> tuple[str, ...]:
        """Columns read from the log, each once."""
        names = (*self.data.interactions.given, *self.label_columns, *map(self.column, self.of_rows))
        return tuple(dict.fromkeys(names))
