"""Requests written by hand, as raw examples on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import tensorflow as tf

from tfx_pipeline.data.examples import raw_features


class Request(NamedTuple):
    """A request of a user, whose candidates are its positives and others."""

    user: str
    time: int
    history: str
    positives: str
    others: str = ""


def _write(file: Path, requests: list[Request]) -> list[str]:
    """Items are letters."""
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(file), options) as writer:
        for request in requests:
            candidates = request.positives + request.others
            labels = [1] * len(request.positives) + [0] * len(request.others)
            texts = {
                raw_features.USER_ID: [request.user],
                raw_features.HISTORY_ITEM_ID: list(request.history),
                raw_features.CANDIDATE_ITEM_ID: list(candidates),
            }
            numbers = {raw_features.LABEL: labels, raw_features.REQUEST_TIME: [request.time]}
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode() for text in values]))
                for name, values in texts.items()
            }
            feature |= {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=values)) for name, values in numbers.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return [str(file)]


@pytest.fixture
def write(tmp_path) -> Callable[[str, list[Request]], list[str]]:
    """write(name, requests): the files that hold them."""
    return lambda name, requests: _write(tmp_path / f"{name}.gz", requests)
