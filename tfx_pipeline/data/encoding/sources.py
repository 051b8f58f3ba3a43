"""What encoders read, as one digest: whether a run of the pipeline has anything to encode."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tfx_pipeline.config.encoders import ImageEncoder, KerasEncoder, in_pipeline
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.data.encoding.onnx_model import weights_beside
from tfx_pipeline.data.encoding.texts import read_columns
from tfx_pipeline.data.logs.files import fingerprint


def encoder_sources(config: EncodingConfig) -> str:
    """Hex digest of path, size and modification time of catalogue, models, tokenizers, pictures and other vectors.

    Vectors that another encoder of these makes are left out: what that one reads is in the digest already.

    Raises:
        DataError: one is not there, but for pictures, or the catalogue cannot be read.
    """
    files: list[Path] = [config.items.path]
    pictures = hashlib.sha256()
    for encoder in config.encoders.values():
        if isinstance(encoder, KerasEncoder):
            if encoder.against is not None and encoder.against not in in_pipeline(config.encoders):
                files.append(config.modalities[encoder.against].path)
            continue
        files += [encoder.model, *weights_beside(encoder.model)]
        if isinstance(encoder, ImageEncoder):
            for cell in read_columns(config.items, [encoder.column])[1].to_pylist():
                pictures.update(repr((cell, _state(encoder.folder / (cell or "").strip()))).encode())
        else:
            files.append(encoder.tokenizer)
    return hashlib.sha256(f"{fingerprint(files)}{pictures.hexdigest()}".encode()).hexdigest()


def _state(picture: Path) -> tuple[int, int] | None:
    """Size and modification time; None where nothing is there."""
    try:
        found = os.stat(picture)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns
