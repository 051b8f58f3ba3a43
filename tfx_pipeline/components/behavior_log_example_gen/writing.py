"""Writes examples to the shards of their splits, shuffled the same way in every run.

TFX's own WriteSplit moves example by example, keeps one user's requests together in one file and in an order that
differs between runs. Here an example's shard and its place there follow from a hash of its bytes: the same log gives
the same files, and a training set is shuffled before the first batch is read.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import apache_beam as beam
import numpy as np
import tensorflow as tf

from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.writing import recover, writing

# About 30 MB of requests with 50 items of history each: what a worker holds while it writes a shard.
ROWS_PER_SHARD = 50_000
# Three times as fast as zlib's default level.
_OPTIONS = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
# Split name and number of the shard.
ShardKey = tuple[str, int]


def shard_count(rows: int) -> int:
    """Shards per split for a log of that many rows."""
    return max(1, -(-rows // ROWS_PER_SHARD))


def shard_of(example: bytes, shards: int) -> int:
    """The shard of a serialised example."""
    return zlib.crc32(example) % shards


def pack(examples: Sequence[bytes]) -> bytes:
    """Examples as one compressed value. One user's histories repeat: what is shuffled shrinks to about a tenth."""
    lengths = np.array([len(examples), *map(len, examples)], dtype="<i8").tobytes()
    return zlib.compress(lengths + b"".join(examples), level=1)


def unpack(packed: bytes) -> list[bytes]:
    """The examples that `pack` was given."""
    data = zlib.decompress(packed)
    count = int(np.frombuffer(data, "<i8", 1)[0])
    ends = (8 * (count + 1) + np.cumsum(np.frombuffer(data, "<i8", count, offset=8))).tolist()
    return [data[begin:end] for begin, end in pairwise([8 * (count + 1), *ends])]


class WriteShard(beam.DoFn):
    """((split, shard), packed examples) -> one gzipped TFRecord file, which appears by rename.

    Args:
        split_uris: folder of each split.
    """

    def __init__(self, split_uris: dict[str, str]) -> None:
        self._split_uris = split_uris

    def process(self, element: tuple[ShardKey, Iterable[bytes]], shards: int) -> Iterator[str]:
        """Yields the path that was written."""
        (split, shard), packed = element
        examples = [example for part in packed for example in unpack(part)]
        examples.sort(key=lambda example: (hashlib.blake2b(example, digest_size=8).digest(), example))
        path = join(self._split_uris[split], f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz")
        # Beam tries a shard again whose worker died. TFX reads hidden files of a split too: none may be left.
        recover(path)
        with writing(path) as file, tf.io.TFRecordWriter(str(file), _OPTIONS) as writer:
            for example in examples:
                writer.write(example)
        yield path
