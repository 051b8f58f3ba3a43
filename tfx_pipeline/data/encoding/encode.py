"""`dmf encode`: texts of the catalogue to the file of vectors that a modality reads."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.data.encoding.onnx_text import OnnxTextEncoder
from tfx_pipeline.data.encoding.texts import read_texts
from tfx_pipeline.data.encoding.vector_file import KnownVectors
from tfx_pipeline.errors import ConfigError, DataError
from tfx_pipeline.files.json_record import JsonRecord

# Texts between two files on disk: what a kill can cost.
_BLOCK = 4096
_DIGITS = 24

# Is told how many of how many texts are encoded, and how many a second.
Watch = Callable[[int, int, float], None]


@dataclass(frozen=True)
class EncodingSummary(JsonRecord):
    """What became of the catalogue's texts.

    Attributes:
        modality: whose vectors they are.
        path: of the file.
        width: of the vectors.
        items: of the catalogue.
        without_text: items that have none: their content is missing.
        encoded: texts that the model was run on; several items may have the same.
        taken_over: items whose vectors an earlier run had made.
        cut: items whose texts have more tokens than the model is given.
        seconds: that encoding took.
    """

    modality: str
    path: str
    width: int
    items: int
    without_text: int
    encoded: int
    taken_over: int
    cut: int
    seconds: float


def encode(config: PipelineConfig, name: str, watch: Watch = lambda done, texts, rate: None) -> EncodingSummary:
    """Makes the vectors of a modality and writes them to its `path`.

    What an earlier run made of the same text by the same encoder is taken over. A killed run goes on from its last
    4,096 texts.

    Args:
        config: the validated configuration.
        name: of the modality, one of `encoders`.
        watch: is told of the progress.

    Raises:
        ConfigError: the encoder's files or libraries are not there or do not fit, or vectors are not as wide as the
            modality says.
        DataError: the catalogue, or the file that is there, cannot be used.
    """
    settings, modality = config.encoders[name], config.content.modalities[name]
    encoder = OnnxTextEncoder(name, settings)
    if modality.width not in (None, encoder.width):
        raise ConfigError(
            f"content.modalities.{name}.width: {settings.model} makes vectors of {encoder.width}, expected "
            f"{modality.width}; set it to {encoder.width}, or leave it out"
        )
    all_ids, all_texts = read_texts(config.data.items, settings.columns)
    pairs = [(item, text) for item, text in zip(all_ids.to_pylist(), all_texts.to_pylist(), strict=True) if text]
    if not pairs:
        raise DataError(
            f"encoders.{name}.columns: no item of {config.data.items.path} has a text in {', '.join(settings.columns)}"
        )
    known = KnownVectors(modality.path, modality, encoder.width)
    sources = [_source(encoder.digest, text) for _, text in pairs]
    taken_over = sum(source in known for source in sources)
    todo = {source: text for source, (_, text) in zip(sources, pairs, strict=True) if source not in known}
    started = time.perf_counter()
    names, texts = list(todo), list(todo.values())
    for first in range(0, len(texts), _BLOCK):
        found = encoder.encode(texts[first : first + _BLOCK])
        known.add(names[first : first + _BLOCK], found.vectors, found.cut)
        done = min(first + _BLOCK, len(texts))
        watch(done, len(texts), done / max(time.perf_counter() - started, 1e-9))
    seconds = time.perf_counter() - started
    cut = known.write([item for item, _ in pairs], sources, encoder.digest)
    return EncodingSummary(
        modality=name,
        path=str(modality.path),
        width=encoder.width,
        items=len(all_ids),
        without_text=len(all_ids) - len(pairs),
        encoded=len(texts),
        taken_over=taken_over,
        cut=cut,
        seconds=round(seconds, 3),
    )


def _source(encoder: str, text: str) -> str:
    return hashlib.sha256(f"{encoder}\n{text}".encode()).hexdigest()[:_DIGITS]
