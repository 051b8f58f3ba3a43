"""Artifact types of the custom components."""

from __future__ import annotations

from tfx.types.artifact import Artifact


class IngestionReport(Artifact):
    """What ingestion read, refused and wrote.

    Files: `report.json` (counts, splits, leakage audit) and `quarantine.jsonl` (bad rows with file, row and reason).
    """

    TYPE_NAME = "IngestionReport"


class ItemContent(Artifact):
    """Content tables of the catalogue: per modality a matrix of embeddings, a missing mask and statistics."""

    TYPE_NAME = "ItemContent"


class EncodedContent(Artifact):
    """What encoders did, `encoding.json`; the vectors themselves lie where the modalities say."""

    TYPE_NAME = "EncodedContent"
