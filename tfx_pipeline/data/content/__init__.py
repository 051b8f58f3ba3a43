"""Content of the items: catalogue and precomputed embeddings to one table, and that table as files."""

from tfx_pipeline.data.content.build import build_content, check_content_sources
from tfx_pipeline.data.content.table import ContentMatrix, Coverage, ItemContentTable, read_content, write_content

__all__ = [
    "ContentMatrix",
    "Coverage",
    "ItemContentTable",
    "build_content",
    "check_content_sources",
    "read_content",
    "write_content",
]
