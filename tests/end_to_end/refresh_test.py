"""`dmf content refresh` of the finished run's model: one item is new, one is another, one is gone; both are served.

It pushes to a folder of its own, in which the run's version is a copy.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving import contract
from serving.client import ClientOptions, RankingClient, User
from serving.export.metadata import read_json
from serving.local_server.policy import VersionPolicy
from serving.local_server.server import LocalServer
from tfx_pipeline.cli import main

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class Refreshed(NamedTuple):
    """Folders of the versions before and after, and the ids of what is new, changed and removed."""

    before: Path
    after: Path
    new: str
    changed: str
    removed: str


@pytest.fixture(scope="module")
def refreshed(finished_run, tmp_path_factory) -> Refreshed:
    folder, data = tmp_path_factory.mktemp("refresh"), finished_run.config_file.parent / "data"
    before = folder / "shop" / finished_run.model.name
    shutil.copytree(finished_run.model, before)
    items, text = pd.read_csv(data / "items.csv", dtype=str), pq.read_table(data / "text_embeddings.parquet")
    embedded = dict(zip(text["item_id"].to_pylist(), text["embedding"].to_pylist(), strict=True))
    covered = [item for item in items["item_id"] if any(embedded.get(item) or [0])]
    changed, removed = covered[:2]
    words = items.set_index("item_id")["title"]
    row = {"item_id": "brand-new", "title": f"{words[changed]} unheard-of", "category": "unheard-of"}
    items = pd.concat([items[items["item_id"] != removed], pd.DataFrame([row])])
    items.loc[items["item_id"] == changed, "title"] = "unheard-of"
    items.to_csv(folder / "items.csv", index=False)
    rng = np.random.default_rng(0)
    embedded |= {item: rng.normal(size=48).tolist() for item in ("brand-new", changed)}
    vectors = pa.array(list(embedded.values()), pa.list_(pa.float32()))
    pq.write_table(pa.table({"item_id": list(embedded), "embedding": vectors}), folder / "text.parquet")
    written = folder / "record.json"
    # Locks and logs are of an output folder of its own: the run's is left as it is.
    paths = {
        "output": folder / "out",
        "data.items.path": folder / "items.csv",
        "content.modalities.text.path": folder / "text.parquet",
    }
    settings = [word for key, path in paths.items() for word in ("--set", f"{key}={path}")]
    command = ["content", "refresh", "--config", str(finished_run.config_file), "--model", str(folder / "shop")]
    assert main([*command, "--json", str(written), *settings]) == 0
    record = json.loads(written.read_text())
    assert (record["new"], record["changed"], record["removed"]) == (1, 1, 1)
    assert record["largest_difference"] <= 1e-6
    return Refreshed(before, before.parent / record["version"], "brand-new", changed, removed)


def test_both_versions_are_served_and_unchanged_items_score_alike(refreshed):
    items = [item for item in read_items(refreshed.before) if item not in refreshed[2:]][:60]
    asked = [*items, refreshed.removed, refreshed.changed, refreshed.new]
    user = User("u000001", [refreshed.removed, *items[:3]], {"gender": "f", "age": 30.0, "device": "phone"})
    with (
        LocalServer(refreshed.before.parent, policy=VersionPolicy.parse("all")) as server,
        RankingClient(server.target, server.name, ClientOptions(deadline=60.0)) as client,
    ):
        rankings = [client.rank(user, asked, version=int(version.name)) for version in refreshed[:2]]
    by_item = [dict(zip(ranking.items, ranking.scores, strict=True)) for ranking in rankings]
    before, after = (np.array([scores[item] for item in asked]) for scores in by_item)
    np.testing.assert_allclose(after[:-2], before[:-2], rtol=0, atol=1e-6)
    assert (np.abs(after[-2:] - before[-2:]) > 1e-5).all()


def read_items(version: Path) -> list[str]:
    return (version / "assets/item_ids.txt").read_text().splitlines()


def test_columns_and_calibration_are_those_of_the_training(refreshed):
    before, after = (read_json(version, contract.METADATA_FILE) for version in (refreshed.before, refreshed.after))
    for name, facts in before["content"]["item_columns"].items():
        assert after["content"]["item_columns"][name]["rows"] == facts["rows"]
    assert after["calibration"] == before["calibration"] is not None
    assert after["created"] == before["created"] < after["refresh"]["created"]
