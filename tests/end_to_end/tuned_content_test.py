"""`content.fine_tuning` on the finished run's logs: the ranker is trained, checked and pushed with tuned vectors.

It pushes another model than the shared run did: files are run in the order of their names, and those that look at that
model come before.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving import contract
from serving.export.metadata import read_json
from tfx_pipeline.config import load_config

# As little of it as there can be.
FINE_TUNING = "content.fine_tuning={epochs: 1, dim: 8, queue: 64, hard_negatives: 2, of: [text], keep: [image]}"

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def tuned(finished_run) -> dict:
    from tfx_pipeline.runners.run import run

    return run(load_config(finished_run.config_file, [FINE_TUNING])).to_json()


def test_data_come_from_the_cache_and_content_does_not(tuned):
    states = {step["node"]: step["state"] for step in tuned["steps"]}
    assert states["ContentTuner"] == "ran" and states["RankingTrainer"] == "ran"
    assert {states[node] for node in ("BehaviorLogExampleGen", "Transform")} == {"cached"}
    assert list(tuned["content"]) == ["image", "text_tuned"]
    assert "/ContentTuner/" in tuned["artifacts"]["content"]


def test_the_model_is_served_with_tuned_vectors(tuned):
    assert tuned["pushed"] and tuned["serving_gate"]["problems"] == []
    modalities = read_json(tuned["model_path"], contract.METADATA_FILE)["content"]["modalities"]
    # A request may carry what the encoder gives: the projection is in the model.
    assert (modalities["text_tuned"]["source_width"], modalities["text_tuned"]["width"]) == (48, 8)
    golden = json.loads(Path(tuned["model_path"], contract.GOLDEN_FILE).read_text())
    assert "carried content" in {entry["case"] for entry in golden}
