"""The section `encoders`: how the vectors of a modality are made out of the catalogue, by `dmf encode`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tfx_pipeline.config.content import Content
from tfx_pipeline.config.values import ConfigPath, Integer, Number, Section
from tfx_pipeline.files.mirror import address_of

PARQUET = ".parquet"


def _square(size: Any) -> Any:
    return [size, size] if isinstance(size, int) else size


_Size = Annotated[
    list[Annotated[Integer, Field(ge=1, le=4096)]], Field(min_length=2, max_length=2), BeforeValidator(_square)
]


class _Encoder(Section):
    """What all encoders have."""

    later = frozenset({"in_pipeline"})

    in_pipeline: bool = Field(
        False,
        description="`dmf run` encodes what is new or changed before it makes the content table; false: `dmf encode` "
        "alone does",
    )


class TextEncoder(_Encoder):
    """An ONNX model with its tokenizer, which makes a vector of each item's text."""

    later = _Encoder.later | {"kind"}

    kind: Literal["text"] = "text"
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


class ImageEncoder(_Encoder):
    """An ONNX model that makes a vector of each item's picture, a file whose path a column of the catalogue has."""

    kind: Literal["image"]
    model: ConfigPath = Field(description="the `.onnx` file, its weights inside or beside it")
    column: str = Field(description="of `data.items`: the path of an image file")
    folder: ConfigPath = Field(
        Path("."), validate_default=True, description="what relative paths are relative to; `.`: this file's folder"
    )
    output: str | None = Field(
        None,
        description="of the model: vectors [items, width]; or vectors of tokens or of places, which are pooled; "
        "absent: its first",
    )
    pooling: Literal["mean", "first"] = Field(
        "mean", description="of vectors of tokens: the mean of all, or the first; those of places always have the mean"
    )
    layout: Literal["NCHW", "NHWC"] | None = Field(
        None, description="whether channels come before the places or after; absent: as the model's input says"
    )
    size: _Size | None = Field(
        None, description="[height, width] in pixels, or one number of both; absent: as the model's input says"
    )
    resize: Literal["crop", "stretch"] = Field(
        "crop", description="keep the sides' proportion and cut the middle out, or take all of it to the size"
    )
    crop: Number = Field(
        0.875, gt=0, le=1, description="of `crop`: share of the shorter side that is kept, as 224 of 256"
    )
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: Annotated[list[Number], Field(min_length=3, max_length=3)] = Field(
        [0.485, 0.456, 0.406], description="of red, green and blue from 0 to 1, which is taken off; those of ImageNet"
    )
    std: Annotated[list[Annotated[Number, Field(gt=0)]], Field(min_length=3, max_length=3)] = Field(
        [0.229, 0.224, 0.225], description="what is then divided by"
    )
    batch_size: Integer = Field(16, ge=1, description="images; a model of a fixed batch takes its own")
    threads: Integer = Field(0, ge=0, description="of onnxruntime; 0: one per core")


class KerasEncoder(_Encoder):
    """A text encoder of our own, trained on the catalogue alone: for those who have no model."""

    kind: Literal["keras"]
    columns: list[str] = Field(
        min_length=1, description="of `data.items`; their texts are joined by a space, empty ones left out"
    )
    against: str | None = Field(
        None,
        description="a modality, whose vectors a text is to find; absent: one half of a text is to find the other half",
    )
    width: Integer = Field(128, ge=2, description="of the vectors")
    max_words: Integer = Field(128, ge=1, description="longer texts are cut, and counted")
    ngrams: list[Annotated[Integer, Field(ge=1, le=10)]] = Field(
        [3], description="lengths of the pieces of a word that stand beside it; []: whole words alone"
    )
    buckets: Integer = Field(65_536, ge=2, le=2**24, description="rows that words and pieces are hashed to")
    dim: Integer = Field(64, ge=1, description="of a row")
    hidden: Integer = Field(256, ge=1, description="of the hidden layer")
    epochs: Integer = Field(10, ge=1, description="over the texts")
    batch_size: Integer = Field(512, ge=2, description="texts, each of which has the others as negatives")
    learning_rate: Number = Field(0.002, gt=0, description="of Adam")
    temperature: Number = Field(0.1, ge=0.01, le=10, description="at the start; it is learned")
    seed: Integer = Field(42, ge=0, lt=2**32, description="the same seed gives the same vectors on CPU")


def _text_if_silent(section: Any) -> Any:
    # Configurations of before there were other kinds do not say which one theirs is.
    return {"kind": "text", **section} if isinstance(section, dict) else section


Encoder = Annotated[
    TextEncoder | ImageEncoder | KerasEncoder, Field(discriminator="kind"), BeforeValidator(_text_if_silent)
]
Encoders = dict[str, Encoder]


def in_order(encoders: Mapping[str, Encoder], names: Iterable[str]) -> list[str]:
    """The names in the order in which they can be encoded: what others are trained against comes before these."""
    return sorted(names, key=lambda name: getattr(encoders[name], "against", None) is not None)


def in_pipeline(encoders: Mapping[str, Encoder]) -> list[str]:
    """Names of those that `dmf run` runs, in that order."""
    return in_order(encoders, (name for name, encoder in encoders.items() if encoder.in_pipeline))


def check_encoders(encoders: Mapping[str, Section], content: Content) -> None:
    """Raises ValueError when an encoder has no modality to write, or one whose file is not its own to write.

    Also when one is to be trained against a modality that is not there, or for vectors of another width.
    """
    for name, encoder in encoders.items():
        if name not in content.modalities:
            there = ", ".join(content.modalities) or "none"
            raise ValueError(
                f"encoders: no modality '{name}'; modalities: {there}. An encoder writes the file that "
                "content.modalities.NAME.path names"
            )
        path = content.modalities[name].path
        if (address := address_of(path)) is not None:
            raise ValueError(
                f"encoders.{name}: writes content.modalities.{name}.path, which must be a local file; got {address}"
            )
        if path.suffix.lower() != PARQUET or set("*?[]") & set(str(path)):
            raise ValueError(
                f"encoders.{name}: writes content.modalities.{name}.path, which must be one file that ends in "
                f"{PARQUET}; got {path}"
            )
        if isinstance(encoder, KerasEncoder):
            _check_trained(name, encoder, content)


def _check_trained(name: str, encoder: KerasEncoder, content: Content) -> None:
    others = [other for other in content.modalities if other != name]
    if encoder.against is not None and encoder.against not in others:
        raise ValueError(
            f"encoders.{name}.against: '{encoder.against}' is no other modality; others: {', '.join(others) or 'none'}"
        )
    wanted = content.modalities[name].width
    if wanted not in (None, encoder.width):
        raise ValueError(
            f"encoders.{name}.width: {encoder.width}, but content.modalities.{name}.width is {wanted}; give one "
            "number, or leave the latter out"
        )
