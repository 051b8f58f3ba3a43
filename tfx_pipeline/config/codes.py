"""The section `content.codes`: semantic ids of items."""

from __future__ import annotations

from pydantic import Field

from tfx_pipeline.config.values import Integer, Section


class Codes(Section):
    """Semantic ids: of each item a code per level, by residual k-means of the content of one modality."""

    levels: Integer = Field(3, ge=1, le=8, description="each level clusters what the levels before it leave over")
    size: Integer = Field(
        256, ge=2, le=65_536, description="codes of each level, at most as many as items have content of the modality"
    )
    of: str = Field(description="name of the modality")
