"""From an image file to the numbers that a model takes."""

from __future__ import annotations

import functools
from typing import Any, BinaryIO

import numpy as np

from tfx_pipeline.config.encoders import ImageEncoder

# Greyscale of more than 8 bits is of 16 where a file says no more.
_PER_EIGHT_BITS = 257
# Pillow hands it to Ghostscript, which runs what is in it.
_PROGRAMS = {"EPS"}


class Preparation:
    """How a picture becomes the input of a model: turned, made RGB, resized, cut, and scaled.

    Args:
        settings: of the encoder.
        height, width: pixels that the model takes.
        layout: "NCHW" or "NHWC".

    Attributes:
        shape: of what it gives.
    """

    def __init__(self, settings: ImageEncoder, height: int, width: int, layout: str):
        self._settings, self._size, self._layout = settings, (width, height), layout
        mean, std = np.array(settings.mean), np.array(settings.std)
        # (x / 255 - mean) / std in one product and one sum.
        self._factor, self._shift = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
        self.shape = (3, height, width) if layout == "NCHW" else (height, width, 3)

    def __call__(self, file: BinaryIO) -> np.ndarray:
        """float32 `shape`.

        Args:
            file: of an image, of which the first frame counts.

        Raises:
            ValueError: more pixels than Pillow takes for an attack, or no known range of values.
            Exception: Pillow's many, of a file that is no image or is broken.
        """
        import PIL.Image

        with PIL.Image.open(file, formats=_formats()) as opened:
            _check_pixels(*opened.size)
            picture = self._fitted(_rgb(_upright(opened)))
        pixels = np.asarray(picture).astype(np.float32)
        pixels *= self._factor
        pixels += self._shift
        return pixels.transpose(2, 0, 1) if self._layout == "NCHW" else pixels

    def _fitted(self, picture: Any) -> Any:
        """At the size of the model."""
        import PIL.Image

        how = PIL.Image.Resampling[self._settings.interpolation.upper()]
        width, height = self._size
        if self._settings.resize == "stretch":
            return picture.resize(self._size, how)
        # A model of 224 with `crop` 0.875 was judged on the middle of pictures whose shorter side has 256.
        scale = max(width / picture.width, height / picture.height) / self._settings.crop
        whole = (max(width, round(picture.width * scale)), max(height, round(picture.height * scale)))
        _check_pixels(*whole)
        left, top = round((whole[0] - width) / 2), round((whole[1] - height) / 2)
        return picture.resize(whole, how).crop((left, top, left + width, top + height))


@functools.cache
def _formats() -> list[str]:
    """What is opened."""
    import PIL.Image

    PIL.Image.init()
    return [name for name in PIL.Image.ID if name not in _PROGRAMS]


def _check_pixels(width: int, height: int) -> None:
    import PIL.Image

    most = PIL.Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise ValueError(f"{width:,} x {height:,} pixels, more than the {most:,} of Pillow's limit")


def _upright(picture: Any) -> Any:
    """Turned as its EXIF data say; as it is where they are broken, which says nothing about the picture."""
    import PIL.ImageOps

    picture.load()
    try:
        return PIL.ImageOps.exif_transpose(picture)
    except Exception:
        # Pillow's readers of EXIF raise what comes: SyntaxError, struct.error, KeyError.
        return picture


def _rgb(picture: Any) -> Any:
    """Three channels of 8 bits; what is transparent becomes white."""
    import PIL.Image

    if picture.mode.startswith("I"):
        grey = np.clip(np.asarray(picture, np.int64) // _PER_EIGHT_BITS, 0, 255)
        return PIL.Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("pixels are fractions of no known range; save it with 8 bits a channel")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    ground = PIL.Image.new("RGBA", picture.size, "white")
    return PIL.Image.alpha_composite(ground, picture).convert("RGB")
