"""An image encoder in an ONNX file: image files in, vectors out."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from serving.messages import first_line
from tfx_pipeline.config.encoders import ImageEncoder
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.encoding.contents import Contents, Encoded
from tfx_pipeline.data.encoding.image_files import ImageFile, image_contents
from tfx_pipeline.data.encoding.onnx_model import (
    check_files,
    chosen_output,
    encoder_digest,
    lacks,
    listed,
    load_model,
)
from tfx_pipeline.data.encoding.pictures import Preparation
from tfx_pipeline.errors import ConfigError, DataError

_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_CHANNELS = 3
# Where a layout has its channels, and its sides.
_PLACES = {"NCHW": (1, (2, 3)), "NHWC": (3, (1, 2))}
_VECTORS, _TOKENS, _MAPS = 2, 3, 4
# Batches whose images are decoded ahead of the model.
_AHEAD = 2


class OnnxImageEncoder:
    """Runs an ONNX model of pictures. Files are decoded in threads of their own beside it, a few batches ahead.

    Args:
        name: of the modality, for messages.
        settings: its section of the configuration.

    Attributes:
        width: of the vectors.
        digest: 16 hex digits; of another file or settings that change vectors it is another.
        block: images between two files on disk, which is what a kill can cost.

    Raises:
        ConfigError: a library is not installed, a file is missing, a model has other inputs or outputs than these, or
            the model does not say its size or layout and neither do the settings.
    """

    block = 512

    def __init__(self, name: str, settings: ImageEncoder):
        self._name, self._key, self._settings = name, f"encoders.{name}", settings
        check_files(self._key, model=settings.model)
        if importlib.util.find_spec("PIL") is None:
            raise lacks(self._key, "Pillow")
        self._session = load_model(self._key, settings.model, settings.threads)
        self._input, self._dtype, shape = self._check_input()
        self._layout = self._find_layout(shape)
        height, width = self._find_size(shape)
        self._prepare = Preparation(settings, height, width, self._layout)
        # Some models were exported for batches of one size, mostly of 1.
        self._batch = shape[0] if isinstance(shape[0], int) else settings.batch_size
        self._output = chosen_output(self._key, self._session, settings.model, settings.output)
        self.width = self._try()
        change_vectors = {"pooling", "resize", "crop", "interpolation", "mean", "std"}
        made_by = (self._output, self._layout, height, width, settings.model_dump(include=change_vectors))
        self.digest = encoder_digest(settings.model, [], made_by)

    def read(self, table: ItemTable) -> Contents:
        """The image files of the catalogue.

        Raises:
            DataError: the catalogue cannot be read, or no item has a file.
        """
        return image_contents(self._name, table, self._settings, self.digest)

    def encode(self, files: Sequence[ImageFile]) -> Encoded:
        """The vectors of image files in their order. What cannot be decoded has failed.

        Raises:
            DataError: the model fails, or gives a value that is not finite; a file of the batch is named.
        """
        vectors = np.zeros((len(files), self.width), np.float32)
        failed: dict[int, str] = {}
        rows: list[int] = []
        images = self._new_batch()
        for row, found in self._decoded(files):
            if isinstance(found, str):
                failed[row] = found
                continue
            images[len(rows)] = found
            rows.append(row)
            if len(rows) == len(images):
                vectors[rows] = self._vectors(images, len(rows), files[rows[0]])
                rows.clear()
        if rows:
            # A model of a fixed batch also takes what is behind the last ones.
            last = images if self._is_fixed else images[: len(rows)]
            vectors[rows] = self._vectors(last, len(rows), files[rows[0]])
        return Encoded(vectors, np.zeros(len(files), bool), failed)

    @property
    def _is_fixed(self) -> bool:
        return isinstance(self._session.get_inputs()[0].shape[0], int)

    def _new_batch(self) -> np.ndarray:
        return np.zeros((self._batch, *self._prepare.shape), self._dtype)

    def _decoded(self, files: Sequence[ImageFile]) -> Iterator[tuple[int, np.ndarray | str]]:
        """By row the image, or why there is none, in order; no more than a few batches are in memory."""
        waiting: deque[tuple[int, Future[np.ndarray | str]]] = deque()
        with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            # Pillow warns of what is broken and of what is large; both are counted.
            warnings.simplefilter("ignore")
            for row, file in enumerate(files):
                waiting.append((row, pool.submit(self._decode, file)))
                if len(waiting) > _AHEAD * self._batch:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()

    def _decode(self, file: ImageFile) -> np.ndarray | str:
        try:
            with file.path.open("rb") as opened:
                found = self._prepare(opened)
                opened.seek(0)
                if hashlib.file_digest(opened, "sha256").digest() != file.digest:
                    return f"{file.path}: changed while it was read"
            return found
        except Exception as error:
            # Pillow's decoders raise what comes: OSError, SyntaxError, ValueError, struct.error, zlib.error.
            return f"{file.path}: {first_line(error)}"

    def _vectors(self, images: np.ndarray, count: int, file: ImageFile) -> np.ndarray:
        """Of the first `count` images; `file` is that of the first."""
        try:
            vectors = self._run(images)
        except Exception as error:
            # The library has no common base of its exceptions.
            raise DataError(
                f"{self._key}: {self._settings.model} fails on a batch that begins with {file.path}: "
                f"{first_line(error)}"
            ) from None
        if vectors.shape != (len(images), self.width):
            raise DataError(
                f"{self._key}: {self._settings.model} gives {list(vectors.shape)} for {len(images)} images, expected "
                f"{[len(images), self.width]}: it may have been exported for one image at a time; set batch_size: 1"
            )
        vectors = vectors[:count]
        if not np.isfinite(vectors).all():
            raise DataError(
                f"{self._key}: {self._settings.model} gives no finite vector for an image of the batch that begins "
                f"with {file.path}"
            )
        return vectors

    def _run(self, images: np.ndarray) -> np.ndarray:
        """float32 [images, width]."""
        (found,) = self._session.run([self._output], {self._input: images})
        found = np.asarray(found, np.float32)
        if found.ndim == _MAPS:
            return np.asarray(found.mean(axis=_PLACES[self._layout][1]))
        if found.ndim == _TOKENS:
            return np.asarray(found[:, 0] if self._settings.pooling == "first" else found.mean(axis=1))
        return found

    def _check_input(self) -> tuple[str, Any, Sequence[Any]]:
        """The name, the dtype and the shape of what the model takes."""
        inputs = self._session.get_inputs()
        found = {each.name: f"{each.type} {each.shape}" for each in inputs}
        if len(inputs) != 1 or inputs[0].type not in _FLOATS or len(inputs[0].shape) != _MAPS:
            raise ConfigError(
                f"{self._key}.model: {self._settings.model} takes {listed(found)}; expected one input of float or "
                f"float16 with 4 axes, images of {_CHANNELS} channels [items, 3, height, width] or "
                "[items, height, width, 3]: a model of pictures"
            )
        return inputs[0].name, _FLOATS[inputs[0].type], inputs[0].shape

    def _find_layout(self, shape: Sequence[Any]) -> str:
        """Where the channels are: as the shape says it, or else the settings."""
        wanted, takes = self._settings.layout, f"{self._settings.model} takes {list(shape)}"
        possible = [name for name, (channels, _) in _PLACES.items() if shape[channels] in (_CHANNELS, *_unknown(shape))]
        certain = [name for name in possible if shape[_PLACES[name][0]] == _CHANNELS]
        if not possible:
            raise ConfigError(
                f"{self._key}.model: {takes}; expected images of {_CHANNELS} channels, [items, 3, height, width] or "
                "[items, height, width, 3]"
            )
        if wanted is not None and wanted not in (certain or possible):
            raise ConfigError(
                f"{self._key}.layout: {wanted}, but {takes}; leave it out, or give {(certain or possible)[0]}"
            )
        found = [wanted] if wanted is not None else certain
        if len(found) != 1:
            raise ConfigError(
                f"{self._key}.layout: {takes}, which does not say where the channels are; give layout: NCHW (channels "
                "before height and width, as PyTorch exports) or NHWC (after them, as TensorFlow does)"
            )
        return found[0]

    def _find_size(self, shape: Sequence[Any]) -> tuple[int, int]:
        """Height and width."""
        given: Sequence[int | None] = self._settings.size or [None, None]
        takes = f"{self._settings.model} takes {list(shape)}"
        static = [shape[place] if isinstance(shape[place], int) else None for place in _PLACES[self._layout][1]]
        if any(side not in (None, own) and own is not None for side, own in zip(given, static, strict=True)):
            raise ConfigError(f"{self._key}.size: {given}, but {takes}; leave it out")
        height, width = (side if own is None else own for side, own in zip(given, static, strict=True))
        if height is None or width is None:
            raise ConfigError(
                f"{self._key}.size: {takes}, which does not say how large images are; give what it was trained with, "
                "such as size: 224"
            )
        return height, width

    def _try(self) -> int:
        """The width of the vectors, of a batch of zeros: what a file says of its outputs may be less than that."""
        images = self._new_batch() if self._is_fixed else self._new_batch()[:1]
        try:
            (found,) = self._session.run([self._output], {self._input: images})
        except Exception as error:
            raise ConfigError(
                f"{self._key}.model: {self._settings.model} fails on images of {list(images.shape)}: "
                f"{first_line(error)}; are size and layout what it was trained with?"
            ) from None
        shape = np.shape(found)
        if len(shape) not in (_VECTORS, _TOKENS, _MAPS) or shape[0] != len(images) or 0 in shape:
            outputs = ", ".join(each.name for each in self._session.get_outputs())
            raise ConfigError(
                f"{self._key}.output: '{self._output}' of {self._settings.model} has the shape {list(shape)} of "
                f"{len(images)} images; expected vectors [items, width], of tokens [items, tokens, width] or of "
                f"places, laid out as the input is; outputs: {outputs}"
            )
        if len(shape) == _MAPS and self._settings.pooling == "first":
            raise ConfigError(
                f"{self._key}.pooling: 'first' is of vectors of tokens, but '{self._output}' of {self._settings.model} "
                f"has the shape {list(shape)}, of places, whose mean is taken; leave it out"
            )
        return int(self._run(images).shape[1])


def _unknown(shape: Sequence[Any]) -> list[Any]:
    return [side for side in shape if not isinstance(side, int)]
