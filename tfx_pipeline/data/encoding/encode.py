"""`dmf encode`: what the catalogue has of its items to the file of vectors that a modality reads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tfx_pipeline.config.encoders import ImageEncoder, TextEncoder
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.data.encoding.contents import Contents, Encoder, LeftOut
from tfx_pipeline.data.encoding.image_files import ADDRESS, BROKEN, MISSING, none_of
from tfx_pipeline.data.encoding.onnx_image import OnnxImageEncoder
from tfx_pipeline.data.encoding.onnx_text import OnnxTextEncoder
from tfx_pipeline.data.encoding.texts import EMPTY
from tfx_pipeline.data.encoding.vector_file import KnownVectors
from tfx_pipeline.errors import ConfigError, DataError
from tfx_pipeline.files.json_record import JsonRecord

# Is told how many of how many texts or images are encoded, and how many a second.
Watch = Callable[[int, int, float], None]


@dataclass(frozen=True)
class MissingImages(JsonRecord):
    """Items without an image, whose content is missing.

    Attributes:
        empty: whose cell is empty.
        addresses: whose cell has an address, such as https://, which is not fetched.
        missing: whose file is not there.
        broken: whose file cannot be read, is no image, is cut off, or has more pixels than Pillow's limit.
        named: some of the last three, with what is wrong.
    """

    empty: int
    addresses: int
    missing: int
    broken: int
    named: tuple[str, ...]


@dataclass(frozen=True)
class TowerTraining(JsonRecord):
    """How an encoder of our own was trained.

    Attributes:
        texts: that it learned from.
        held_out: texts that it did not see.
        accuracy_before: share of the held-out ones whose partner is nearest among them, before training; None of none.
        accuracy_after: and after it.
        loss: mean of the last epoch.
        temperature: at the end.
        seconds: that it took.
    """

    texts: int
    held_out: int
    accuracy_before: float | None
    accuracy_after: float | None
    loss: float
    temperature: float
    seconds: float


@dataclass(frozen=True)
class EncodingSummary(JsonRecord):
    """What became of the catalogue's texts or images.

    Attributes:
        modality: whose vectors they are.
        path: of the file.
        width: of the vectors.
        items: of the catalogue.
        without_text: items that have none: their content is missing. 0 of images.
        encoded: texts or images that the model was run on; several items may have the same.
        taken_over: items whose vectors an earlier run had made.
        cut: items whose texts have more tokens than the model is given.
        seconds: that encoding took.
        images: items that have none; None of texts.
        training: of an encoder of our own, in this run or an earlier one; None of others.
        trained: whether it was in this run.
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
    images: MissingImages | None = None
    training: TowerTraining | None = None
    trained: bool = False


def encode(config: EncodingConfig, name: str, watch: Watch = lambda done, texts, rate: None) -> EncodingSummary:
    """Makes the vectors of a modality by an ONNX model and writes them to its `path`.

    Args:
        config: of the encoder.
        name: of the modality, one of `encoders`.
        watch: is told of the progress.

    Raises:
        ConfigError: the encoder's files or libraries are not there or do not fit, or vectors are not as wide as the
            modality says.
        DataError: the catalogue, or the file that is there, cannot be used, or no image can.
    """
    settings = config.encoders[name]
    assert isinstance(settings, ImageEncoder | TextEncoder), "what is trained is not run by an ONNX model"
    return encode_by(onnx_encoder(name, settings), config, name, watch)


def onnx_encoder(name: str, settings: ImageEncoder | TextEncoder) -> OnnxImageEncoder | OnnxTextEncoder:
    """The encoder of a modality, whose model is loaded.

    Raises:
        ConfigError: its files or libraries are not there or do not fit.
    """
    return OnnxImageEncoder(name, settings) if isinstance(settings, ImageEncoder) else OnnxTextEncoder(name, settings)


def encode_by(encoder: Encoder, config: EncodingConfig, name: str, watch: Watch) -> EncodingSummary:
    """Makes the vectors of a modality by an encoder and writes them to its `path`.

    What an earlier run made of the same text or image by the same encoder is taken over. A killed run goes on from its
    last block: 4,096 texts, or 512 images.

    Args:
        encoder: made of the configuration.
        config, name, watch: as of `encode`.

    Raises:
        ConfigError: vectors are not as wide as the modality says.
        DataError: the catalogue, or the file that is there, cannot be used, or no image can.
    """
    modality = config.modalities[name]
    if modality.width not in (None, encoder.width):
        raise ConfigError(
            f"content.modalities.{name}.width: encoders.{name} makes vectors of {encoder.width}, expected "
            f"{modality.width}; set it to {encoder.width}, or leave it out"
        )
    known = KnownVectors(modality.path, modality, encoder.width)
    contents = encoder.read(config.items)
    taken_over = sum(source in known for source in contents.sources)
    started = time.perf_counter()
    encoded, failed = _encode_new(encoder, contents, known, watch)
    seconds = time.perf_counter() - started
    kept = []
    for item, source in zip(contents.ids, contents.sources, strict=True):
        if source in failed:
            contents.left_out.add(BROKEN, item, failed[source])
        else:
            kept.append((item, source))
    if not kept:
        raise DataError(f"encoders.{name}: none of the images can be used: {none_of(contents.left_out)}")
    cut = known.write([item for item, _ in kept], [source for _, source in kept], encoder.digest)
    pictures = isinstance(config.encoders[name], ImageEncoder)
    return EncodingSummary(
        modality=name,
        path=str(modality.path),
        width=encoder.width,
        items=contents.items,
        without_text=0 if pictures else contents.left_out.counts[EMPTY],
        encoded=encoded,
        taken_over=taken_over,
        cut=cut,
        seconds=round(seconds, 3),
        images=_missing_images(contents.left_out) if pictures else None,
    )


def _encode_new(encoder: Encoder, contents: Contents, known: KnownVectors, watch: Watch) -> tuple[int, dict[str, str]]:
    """Adds to `known` what is not in it; returns how many vectors these are, and by source why others are none."""
    todo = {source: value for source, value in contents.values.items() if source not in known}
    sources, values = list(todo), list(todo.values())
    failed: dict[str, str] = {}
    started = time.perf_counter()
    for first in range(0, len(values), encoder.block):
        names = sources[first : first + encoder.block]
        found = encoder.encode(values[first : first + encoder.block])
        failed |= {names[row]: why for row, why in found.failed.items()}
        rows = [row for row in range(len(names)) if row not in found.failed]
        if rows:
            known.add([names[row] for row in rows], found.vectors[rows], found.cut[rows])
        done = first + len(names)
        watch(done, len(values), done / max(time.perf_counter() - started, 1e-9))
    return len(values) - len(failed), failed


def _missing_images(left_out: LeftOut) -> MissingImages:
    counts = left_out.counts
    return MissingImages(counts[EMPTY], counts[ADDRESS], counts[MISSING], counts[BROKEN], tuple(left_out.named))
