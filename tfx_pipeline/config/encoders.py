"""The section `encoders`: how the vectors of a modality are made out of the catalogue's text, by `dmf encode`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from tfx_pipeline.config.content import Content
from tfx_pipeline.config.values import ConfigPath, Integer, Section

PARQUET = ".parquet"


class TextEncoder(Section):
    """An ONNX model with its tokenizer, which makes a vector of each item's text."""

    model: ConfigPath = Field(description="the `.onnx` file, its weights inside or beside it")
    tokenizer: ConfigPath = Field(
        description="`tokenizer.json` of the library tokenizers, as models are published with"
    )
    columns: list[str] = Field(
        min_length=1, description="of `data.items`; their texts are joined by a space, empty ones left out"
    )
    output: str | None = Field(
        None,
        description="of the model: token vectors [items, tokens, width], which are pooled, or vectors [items, width]; "
        "absent: its first",
    )
    pooling: Literal["mean", "first"] = Field(
        "mean", description="of token vectors: the mean of all, or the first, as the model was trained"
    )
    max_tokens: Integer = Field(128, ge=1, description="longer texts are cut, and counted")
    batch_size: Integer = Field(8, ge=1, description="texts, of about one length")
    threads: Integer = Field(0, ge=0, description="of onnxruntime; 0: one per core")


Encoders = dict[str, TextEncoder]


def check_encoders(encoders: Mapping[str, TextEncoder], content: Content) -> None:
    """Raises ValueError when an encoder has no modality to write, or one whose file is not its own to write."""
    for name in encoders:
        if name not in content.modalities:
            there = ", ".join(content.modalities) or "none"
            raise ValueError(
                f"encoders: no modality '{name}'; modalities: {there}. An encoder writes the file that "
                "content.modalities.NAME.path names"
            )
        path = content.modalities[name].path
        if path.suffix.lower() != PARQUET or set("*?[]") & set(str(path)):
            raise ValueError(
                f"encoders.{name}: writes content.modalities.{name}.path, which must be one file that ends in "
                f"{PARQUET}; got {path}"
            )
