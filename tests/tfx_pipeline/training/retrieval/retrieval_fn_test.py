"""What `retrieval_fn` leaves, and what `run_fn` exports of it beside the ranker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from serving import contract
from serving.export.metadata import read_json
from tfx_pipeline.config.stages import RECALL

pytestmark = pytest.mark.slow


@pytest.fixture
def training(recommending) -> dict[str, Any]:
    return json.loads((recommending / "retrieval/run/training.json").read_text())


def test_the_best_epoch_is_that_of_the_highest_recall(training):
    recalls = [epoch[RECALL] for epoch in training["history"]]
    assert all(0 <= recall <= 1 for recall in recalls)
    assert training["best_epoch"] == recalls.index(max(recalls))
    assert training["train_requests"] == 400


def test_the_towers_are_exported_alone_and_beside_the_ranker(recommending):
    alone, both = (
        contract.ModelContract.read(Path(folder, "Format-Serving"))
        for folder in (recommending / "retrieval", recommending)
    )
    assert (alone.model, alone.retrieval_items, alone.ranked_candidates) == ("two_towers", 40, 0)
    assert contract.RETRIEVE in alone.signatures and contract.RECOMMEND not in alone.signatures
    assert (both.model, both.retrieval_items, both.ranked_candidates) == ("dmf", 40, 10)
    assert {contract.RETRIEVE, contract.RECOMMEND} <= set(both.signatures)
    assert not any((recommending / "retrieval/state").glob("*"))


def test_metadata_of_the_ranker_says_what_is_exported_with_it(recommending, training):
    metadata = read_json(recommending / "Format-Serving", contract.METADATA_FILE)
    stage = metadata["retrieval"]
    assert (stage["items"], stage["ranked_candidates"]) == (40, 10)
    assert stage["index_bytes"] == 40 * stage["width"] * 4
    assert stage["params"]["id_dim"] == 8
    assert (stage["epochs"], stage["best_epoch"]) == (len(training["history"]), training["best_epoch"])
    assert stage["metrics"] == training["history"][stage["best_epoch"]]
    assert metadata["artifacts"]["retrieval_run"] == str(recommending / "retrieval/run")


def test_both_stages_have_one_table_of_content(recommending):
    variables = tf.train.list_variables(str(recommending / "Format-Serving/variables/variables"))
    shapes = [tuple(shape) for name, shape in variables if "/table/" in name and "OPTIMIZER" not in name]
    metadata = read_json(recommending / "Format-Serving", contract.METADATA_FILE)
    widths = sorted(modality["width"] for modality in metadata["content"]["modalities"].values())
    assert sorted(width for rows, width in shapes if rows == 41) == widths
