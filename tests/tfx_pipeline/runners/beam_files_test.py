"""Files that Beam writes at another level are read as any."""

from __future__ import annotations

import gzip
from pathlib import Path
from unittest import mock

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.io.filesystem import CompressedFile

from tfx_pipeline.runners import beam_files

# Alike in part, as examples are: what zlib's levels differ in.
RECORDS = [b" ".join(b"i%07d" % (number * place % 4099) for place in range(50)) for number in range(2000)]


@pytest.fixture(autouse=True)
def _restored():
    with mock.patch.object(CompressedFile, "_initialize_compressor", beam_files._initialize):
        yield


def _written(folder: Path, name: str, ending: str = ".gz") -> Path:
    with beam.Pipeline("DirectRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create(RECORDS, reshuffle=False)
            | beam.io.WriteToTFRecord(str(folder / name), file_name_suffix=ending, num_shards=1)
        )
    (file,) = folder.glob(f"{name}*")
    return file


def test_records_are_read_as_ever_and_take_more_room(tmp_path):
    before = _written(tmp_path, "before")
    beam_files.compress_fast()
    after = _written(tmp_path, "after")
    assert gzip.decompress(after.read_bytes()) == gzip.decompress(before.read_bytes())
    found = tf.data.TFRecordDataset(str(after), compression_type="GZIP")
    assert [record.numpy() for record in found] == RECORDS
    # The first level is what makes it fast.
    assert 1.05 < after.stat().st_size / before.stat().st_size < 2


def test_other_compressions_are_beams(tmp_path):
    before = _written(tmp_path, "before", ".bz2")
    beam_files.compress_fast()
    assert _written(tmp_path, "after", ".bz2").read_bytes() == before.read_bytes()
