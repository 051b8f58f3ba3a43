"""The code of docs/CLIENT.md runs as it stands, but for the ports."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import numpy as np

from serving import client
from serving.approximate_index import ApproximateIndex
from serving.export.approximate_index import write_index
from serving.testing import FakeRankingServer

DOC = (Path(__file__).resolve().parents[3] / "docs" / "CLIENT.md").read_text(encoding="utf-8")


def test_every_block_runs(capsys, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
    assert len(blocks) >= 8
    features = {"gender": "string", "age": "float32", "device": "string"}
    catalogue = [f"i{number:06}" for number in range(1000)]
    vectors = np.random.default_rng(0).standard_normal((len(catalogue), 8)).astype(np.float32)
    write_index(tmp_path, catalogue, vectors, vectors[:5], ranked_candidates=500)
    index = ApproximateIndex.load(tmp_path)
    fake = FakeRankingServer("demo", features=features, catalogue=catalogue, ranked_candidates=500, index=index)
    with fake as server:
        names: dict = {}
        for block in blocks:
            ported = block.replace("localhost:8500", server.target).replace("localhost:8501", server.rest_target)
            ported = ported.replace("serving/demo/1730000000", str(tmp_path))
            exec(compile(ported, "docs/CLIENT.md", "exec"), names)
        assert len(asyncio.run(names["ranked"]())) == 3
    assert "scored by version 1" in capsys.readouterr().out
    assert 'signature="rank",version="1",outcome="ok"' in names["text"]


def test_every_public_name_is_in_order():
    assert sorted(client.__all__) == sorted(set(client.__all__))
    assert [name for name in client.__all__ if not hasattr(client, name)] == []


def test_every_error_is_in_the_table():
    errors = [name for name in client.__all__ if issubclass(getattr(client, name), client.RankingError)]
    assert len(errors) > 10
    assert [name for name in errors if f"`{name}`" not in DOC] == []
    assert [name for name in errors if not (getattr(client, name).__doc__ or "").strip()] == []
