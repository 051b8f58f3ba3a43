"""What ingestion needs of the configuration, and nothing else: a change elsewhere must not invalidate its cache."""

from __future__ import annotations

import json

from pydantic import Field

from tfx_pipeline.config.negatives import Negatives
from tfx_pipeline.config.objectives import FurtherLabel, further_labels
from tfx_pipeline.config.schema import ColumnKind, History, PipelineConfig, Split
from tfx_pipeline.config.tables import Data
from tfx_pipeline.config.values import Section


class IngestionConfig(Section):
    """Tables, history, split, and the kind of each profile and context column.

    How a column is embedded (vocabulary size, buckets) is left out on purpose: it does not change what is written.
    """

    later = frozenset({"labels", "negatives"})

    data: Data
    history: History = History()
    split: Split
    negatives: Negatives | None = None
    profile: dict[str, ColumnKind] = {}
    context: dict[str, ColumnKind] = {}
    columns: dict[str, str] = Field({}, description="names in the tables, of features that have another")
    labels: dict[str, FurtherLabel] = Field({}, description="of the objectives beside the main one")

    @classmethod
    def of(cls, config: PipelineConfig) -> IngestionConfig:
        """The part of `config` that decides what ingestion writes."""
        unused = {"schema_file": None, "items": config.data.items.model_copy(update={"title_column": None})}
        return cls(
            data=config.data.model_copy(update=unused),
            history=config.history,
            split=config.split,
            negatives=config.negatives,
            profile={name: column.kind for name, column in config.features.user.items()},
            context={name: column.kind for name, column in config.features.context.items()},
            labels=further_labels(config.objectives, config.data.interactions.columns),
            columns={
                name: column.column
                for name, column in (config.features.user | config.features.context).items()
                if column.column is not None and column.column != name
            },
        )

    def to_json(self) -> str:
        """Canonical JSON: equal configurations give equal strings; read back by `model_validate_json`."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    def column(self, feature: str) -> str:
        """Name in its table of a profile or context feature."""
        return self.columns.get(feature, feature)

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
        names = self.data.interactions.columns
        return tuple(dict.fromkeys((*names.given, *self.label_columns, *map(self.column, self.context))))
