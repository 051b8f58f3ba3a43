"""A pushed model of the tiny world with the files that its content table could have been made of."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from serving import contract
from serving.manifest import describe
from tests.tfx_pipeline.conftest import TinyWorld
from tfx_pipeline.config import load_config
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.data.content.table import read_content


@dataclasses.dataclass
class Shop:
    """A folder with a configuration, a catalogue, embeddings and one pushed version of a model.

    Attributes:
        folder: of all of it.
        embeddings: by modality and item, at the width of the encoder; changed by tests before `write`.
        items: of the catalogue, in its order.
        encoder: digest that the files of embeddings tell.
    """

    folder: Path
    embeddings: dict[str, dict[str, np.ndarray]]
    items: list[str]
    encoder: str | None = None

    @property
    def base(self) -> Path:
        """Folder of the versions."""
        return self.folder / "out/serving/tiny"

    @property
    def versions(self) -> list[str]:
        """Names of what lies there, hidden folders too."""
        return sorted(path.name for path in self.base.iterdir())

    @property
    def config_file(self) -> Path:
        return self.folder / "config.yaml"

    def config(self, *overrides: str) -> PipelineConfig:
        """The configuration of the files as they are now written."""
        self.write()
        return load_config(self.config_file, overrides)

    def write(self) -> None:
        """Catalogue and embeddings."""
        (self.folder / "items.csv").write_text("item_id\n" + "".join(f"{item}\n" for item in self.items))
        for name, of_items in self.embeddings.items():
            vectors = pa.array([of_items[item].tolist() for item in of_items], pa.list_(pa.float32()))
            table = pa.table({"item_id": list(of_items), "embedding": vectors})
            told = {} if self.encoder is None else {"dmf_encoder": self.encoder}
            pq.write_table(table.replace_schema_metadata(told), self.folder / f"{name}.parquet")

    def edit(self, version: str, file: str, change: Callable[[Any], None]) -> None:
        """Changes a JSON file beside a version."""
        path = self.base / version / file
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))


def make_shop(folder: Path, world: TinyWorld, exported: Path) -> Shop:
    """Version 7 of `exported`, whose content table lies as the pipeline leaves it."""
    table = read_content(world.content)
    embeddings = {}
    for name, matrix in table.modalities.items():
        vectors = matrix.vectors.astype(np.float32)
        # The basis is orthonormal: these vectors are projected onto those of the table.
        vectors = vectors if matrix.basis is None else vectors @ matrix.basis.T
        there = [(item, row) for row, item in enumerate(table.item_ids) if matrix.present[row]]
        embeddings[name] = {item: 3 * vectors[row] for item, row in there}
    values = {
        "name": "tiny",
        "output": "out",
        "data": {
            "interactions": {"path": "log.csv", "columns": {"user": "u", "item": "i", "time": "t", "label": "l"}},
            "items": {"path": "items.csv", "id_column": "item_id"},
        },
        "split": {"fractions": {"train": 0.8, "eval": 0.1, "test": 0.1}},
        "content": {
            "modalities": {name: {"path": f"{name}.parquet"} for name in embeddings},
            # Files go on having what the catalogue has lost.
            "max_unknown_fraction": 0.2,
        },
        "serving": {"warmup_candidates": [1, 7]},
        "stages": {"retrieval": {"approximate": {"at": 20}}, "ranking": {"candidates": 10}},
    }
    values["content"]["modalities"]["text"]["dim"] = 6
    shop = Shop(folder, embeddings, list(table.item_ids))
    folder.mkdir(exist_ok=True)
    shop.config_file.write_text(yaml.safe_dump(values))
    content = folder / "out/artifacts/ItemContentGen/content/1"
    shutil.copytree(world.content, content)
    shutil.copytree(exported, shop.base / "7")
    version = shop.base / "7"
    shop.edit("7", contract.METADATA_FILE, lambda values: values["artifacts"].update(content=str(content)))
    (version / contract.EVALUATION_FILE).write_text(json.dumps({"metrics": {"test": {"overall": {"auc": 0.7}}}}))
    (version / contract.MANIFEST_FILE).write_text(json.dumps(describe(version)))
    return shop


@pytest.fixture
def shop(tmp_path: Path, tiny_world: TinyWorld, recommending: Path) -> Shop:
    return make_shop(tmp_path / "shop", tiny_world, recommending / "Format-Serving")
