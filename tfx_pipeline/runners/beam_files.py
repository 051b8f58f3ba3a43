"""Compressed files that Beam writes in less time.

Transform writes every example of train and eval as gzip, at zlib's default level: a sixth of the step on a log of
single candidates. At the first level the step takes a sixth less, and files are a seventh larger.
"""

from __future__ import annotations

import zlib

from apache_beam.io.filesystem import CompressedFile, CompressionTypes

_LEVEL = 1

_initialize = CompressedFile._initialize_compressor


def compress_fast() -> None:
    """Has Beam write gzip files at zlib's first level, in this process."""
    CompressedFile._initialize_compressor = _initialize_compressor


def _initialize_compressor(file: CompressedFile) -> None:
    if file._compression_type == CompressionTypes.GZIP:
        file._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, file._gzip_mask)
    else:
        _initialize(file)
