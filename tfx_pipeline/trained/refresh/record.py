"""What `dmf content refresh` was to do and did: its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfx_pipeline.files.json_record import JsonRecord


@dataclass(frozen=True)
class ContentCounts:
    """Items of the catalogue with content of a modality, in the version before and now."""

    before: int
    now: int


@dataclass(frozen=True)
class RefreshRecord(JsonRecord):
    """One refresh.

    Attributes:
        model: folder of the versions.
        of_version: that was refreshed.
        trained: when its weights were trained and exported, ISO 8601.
        items_before, items_now: in the catalogue.
        new, changed, removed: how many items.
        retired: items that the catalogue lacks and that histories may have, whose rows stay.
        untrained_ids: new items whose id is in the vocabulary, though the catalogue of training lacked them: their row
            of the id embedding was never trained.
        examples: by `new`, `changed` and `removed`, the first ids.
        content: by modality.
        bytes_before, bytes_now: of the tables of content and of the retrieval index in the served model.
        seconds_last: that the last refresh of this model took; None: it is the first.
        index_seconds_last: that making its approximate index took; None: it has none.
        version: that was made; None: none was.
        problems: why the gate let nothing pass.
        largest_difference: of a golden request's score of an unchanged item, from before; None: nothing to compare.
        index_recall: of the approximate index; None: there is none.
        seconds: that all of it took.
        peak_memory_mb: of this process and those that it started.
    """

    model: str
    of_version: str
    trained: str
    items_before: int
    items_now: int
    new: int
    changed: int
    removed: int
    retired: int
    untrained_ids: int
    examples: Mapping[str, tuple[str, ...]]
    content: Mapping[str, ContentCounts]
    bytes_before: int
    bytes_now: int
    seconds_last: float | None = None
    index_seconds_last: float | None = None
    version: str | None = None
    problems: tuple[str, ...] = ()
    largest_difference: float | None = None
    index_recall: float | None = None
    seconds: float = 0.0
    peak_memory_mb: int = 0

    @property
    def anything(self) -> bool:
        """Whether there is a difference to be served."""
        return bool(self.new or self.changed or self.removed)
