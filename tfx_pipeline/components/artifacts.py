"""Artifact types of the custom components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfx.types import artifact_utils
from tfx.types.artifact import Artifact


def optional_uri(inputs: Mapping[str, Sequence[Artifact]], key: str) -> str | None:
    """Where the artifact of an input lies; None where a step was not given it."""
    given = inputs.get(key)
    return None if not given else str(artifact_utils.get_single_uri(list(given)))


class IngestionReport(Artifact):
    """What ingestion read, refused and wrote.

    Files: `report.json` (counts, splits, leakage audit) and `quarantine.jsonl` (bad rows with file, row and reason).
    """

    TYPE_NAME = "IngestionReport"


class ItemContent(Artifact):
    """Content tables of the catalogue: per modality a matrix of embeddings, a missing mask and statistics."""

    TYPE_NAME = "ItemContent"


class EncodedContent(Artifact):
    """What encoders made: `NAME.parquet`, the vectors of each modality, and `encoding.json`, what was done."""

    TYPE_NAME = "EncodedContent"
