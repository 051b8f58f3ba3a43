"""Pictures of every kind become the numbers that a model takes."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from tfx_pipeline.config.encoders import ImageEncoder
from tfx_pipeline.data.encoding.pictures import Preparation

AS_IT_IS = ImageEncoder(kind="image", model="m", column="c", resize="stretch", mean=[0, 0, 0], std=[1 / 255] * 3)


def _prepared(content: bytes) -> np.ndarray:
    """Colours from 0 to 255 [height, width, 3], at the size that they have."""
    with PIL.Image.open(io.BytesIO(content)) as picture:
        width, height = picture.size
    return Preparation(AS_IT_IS, height, width, "NHWC")(io.BytesIO(content))


def _file(picture: PIL.Image.Image, kind: str = "PNG", **how) -> bytes:
    made = io.BytesIO()
    picture.save(made, kind, **how)
    return made.getvalue()


def test_pictures_of_every_mode_become_rgb():
    rgb = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    picture = PIL.Image.fromarray(rgb)
    np.testing.assert_allclose(_prepared(_file(picture)), rgb, atol=1e-4)
    grey = rgb[..., :1]
    np.testing.assert_allclose(_prepared(_file(PIL.Image.fromarray(grey[..., 0]))), grey.repeat(3, 2), atol=1e-4)
    # 16 bits a pixel: Pillow would cut them at 255.
    deep = PIL.Image.fromarray(grey[..., 0].astype(np.uint16) * 257)
    np.testing.assert_allclose(_prepared(_file(deep)), grey.repeat(3, 2), atol=1e-4)
    np.testing.assert_allclose(_prepared(_file(picture.quantize(256))), rgb, atol=1e-4)
    black_and_white = _prepared(_file(PIL.Image.fromarray(grey[..., 0] > 128)))
    assert set(np.unique(black_and_white.round())) <= {0, 255}
    cmyk = _prepared(_file(PIL.Image.new("CMYK", (3, 2), (0, 255, 255, 0)), "JPEG"))
    np.testing.assert_allclose(cmyk, np.broadcast_to([255, 0, 0], (2, 3, 3)), atol=3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode):
    if mode == "P":
        picture = PIL.Image.new("P", (2, 1), 0)
        picture.putpalette([0, 0, 0, 0, 0, 0])
        picture.putpixel((1, 0), 1)
        content = _file(picture, transparency=0)
    else:
        picture = PIL.Image.new(mode, (2, 1), 0)
        picture.putpixel((1, 0), (0, 0, 0, 255) if mode == "RGBA" else (0, 255))
        content = _file(picture)
    np.testing.assert_allclose(_prepared(content), [[[255] * 3, [0] * 3]], atol=1e-4)


def test_pictures_are_turned_as_exif_says():
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 8:] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture = PIL.Image.fromarray(pixels)
    turned = Preparation(AS_IT_IS, 16, 8, "NHWC")(io.BytesIO(_file(picture, exif=exif)))
    # The left side is the upper one, of a camera that was held upright.
    np.testing.assert_allclose(turned, np.rot90(pixels, -1), atol=1e-4)
    np.testing.assert_allclose(_prepared(_file(picture, exif=b"Exif\0\0not any")), pixels, atol=1e-4)


def test_what_ghostscript_would_run_is_no_picture():
    with pytest.raises(PIL.UnidentifiedImageError):
        Preparation(AS_IT_IS, 2, 2, "NHWC")(io.BytesIO(_file(PIL.Image.new("RGB", (2, 2)), "EPS")))
