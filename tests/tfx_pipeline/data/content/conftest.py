"""A small catalogue and its embeddings on disk, and a way to spoil them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.config.content import Content, Modality
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.build import build_content
from tfx_pipeline.data.content.table import ItemContentTable

WIDTH = 6


@pytest.fixture
def embeddings() -> np.ndarray:
    """float32 [5, WIDTH] of items a to e."""
    return np.random.default_rng(0).standard_normal((5, WIDTH)).astype(np.float32)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., ItemContentTable]:
    """Writes catalogue and one Parquet modality, then builds the table from them."""

    def build_from(
        vectors,
        ids=("a", "b", "c", "d", "e"),
        catalogue=("a", "b", "c", "d", "e"),
        unknown=0.05,
        codes=None,
        **modality,
    ) -> ItemContentTable:
        items, source = tmp_path / "items.csv", tmp_path / "text.parquet"
        items.write_text("item_id\n" + "".join(f"{item}\n" for item in catalogue))
        rows = vectors.tolist() if isinstance(vectors, np.ndarray) else vectors
        pq.write_table(pa.table({"item_id": ids, "embedding": pa.array(rows, pa.list_(pa.float32()))}), source)
        section = Content(
            modalities={"text": Modality(path=source, **modality)}, max_unknown_fraction=unknown, codes=codes
        )
        return build_content(ItemTable(path=items), section)

    return build_from
