"""Embedding files with bytes changed at random: they are read, or refused by name; nothing else happens."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.config.content import Modality
from tfx_pipeline.data.content.embeddings import open_embeddings
from tfx_pipeline.errors import DataError

_FILES = 250


def _write(path: Path) -> None:
    ids = [f"i{n}" for n in range(200)]
    vectors = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    if path.suffix == ".npz":
        np.savez_compressed(path, item_id=np.array(ids), embedding=vectors)
    else:
        pq.write_table(pa.table({"item_id": ids, "embedding": vectors.tolist()}), path, row_group_size=50)


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_a_damaged_file_is_read_or_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"text.{kind}"
    _write(path)
    whole, refused = path.read_bytes(), 0
    for seed in range(_FILES):
        numbers = random.Random(seed)
        content = bytearray(whole)
        for _ in range(numbers.randint(1, 5)):
            content[numbers.randrange(len(content))] = numbers.randrange(256)
        path.write_bytes(content[: numbers.choice([len(content)] * 9 + [numbers.randrange(len(content))])])
        try:
            for source in open_embeddings("text", Modality(path=path)):
                ids = source.ids()
                assert sum(len(block) for block in source.blocks(ids)) == len(ids)
        except DataError as error:
            assert str(error).startswith("content.modalities.text") and path.name in str(error)  # noqa: PT017
            refused += 1
    assert refused > _FILES // 4, "the mutations reach the file's structure"
