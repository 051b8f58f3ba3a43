"""The section `content`: embeddings of items by modality, and semantic ids made of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from tfx_pipeline.config.names import check_names
from tfx_pipeline.config.values import ConfigPath, Fraction, Integer, Section


class Codes(Section):
    """Semantic ids: of each item a code per level, by residual k-means of the content of one modality."""

    levels: Integer = Field(3, ge=1, le=8, description="each level clusters what the levels before it leave over")
    size: Integer = Field(
        256, ge=2, le=65_536, description="codes of each level, at most as many as items have content of the modality"
    )
    of: str = Field(description="name of the modality")


class Modality(Section):
    """Precomputed embeddings of one modality: Parquet (id and list column) or npz (two arrays)."""

    path: ConfigPath
    id_column: str = "item_id"
    embedding_column: str = "embedding"
    width: Integer | None = Field(None, ge=1, description="expected width of the source; checked when given")
    dim: Integer | None = Field(None, ge=1, description="reduce to this width by PCA; absent: keep the source's width")
    dtype: Literal["int8", "float16", "float32"] = Field(
        "float16", description="in which the model keeps its table; int8 takes a quarter of float32, float16 half of it"
    )


class Content(Section):
    """Content embeddings, any number of modalities; without any, models that compare content cannot be trained."""

    later = frozenset({"codes"})

    modalities: dict[str, Modality] = {}
    max_unknown_fraction: Fraction = Field(
        0.05, description="share of embedded ids that may be absent from the catalogue"
    )
    codes: Codes | None = Field(None, description="semantic ids, for models that read them; absent: none")

    _names = field_validator("modalities")(check_names)

    @property
    def codes_of(self) -> str | None:
        """Name of the modality that semantic ids are made of; None: there are none."""
        return None if self.codes is None else self.codes.of

    @model_validator(mode="after")
    def _codes_are_of_a_modality(self) -> Content:
        if self.codes is not None and self.codes.of not in self.modalities:
            there = ", ".join(self.modalities) or "none"
            raise ValueError(f"codes.of: no modality '{self.codes.of}'; modalities: {there}")
        return self
