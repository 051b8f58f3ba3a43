"""`dmf content evaluate` on small logs, with fine-tuning: from files to the evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import small_config
from tfx_pipeline.cli import exit_status, main

FINE_TUNING = "content.fine_tuning={epochs: 1, dim: 8, queue: 64, hard_negatives: 2}"


@pytest.mark.slow
def test_evidence_of_raw_and_tuned_vectors(tmp_path: Path, capfd):
    config = small_config(tmp_path)
    arguments = ["content", "evaluate", "--config", str(config), "--set", FINE_TUNING]
    assert main([*arguments, "--json", str(tmp_path / "evidence.json")]) == exit_status.OK
    said = capfd.readouterr()
    assert "text_tuned" in said.out and "nearest by image_tuned" in said.out
    assert "ContentTuner, epoch 1 of at most 1: recall@10 of the next click on eval" in said.err
    found = json.loads((tmp_path / "evidence.json").read_text())
    assert list(found["modalities"]) == ["image", "text", "image_tuned", "text_tuned", "all modalities"]
    assert found["modalities"]["text_tuned"]["width"] == 8
    assert found["modalities"]["text"]["splits"]["test"]["slices"]["overall"]["candidates"] > 0
    # Again: from the cache.
    assert main(arguments) == exit_status.OK
    assert "ContentTuner: cached" in capfd.readouterr().err


def test_a_configuration_without_content_is_refused(tmp_path: Path, capfd):
    config = tmp_path / "config.yaml"
    config.write_text(
        "name: a\noutput: out\ndata: {interactions: {path: a.csv}, items: {path: b.csv}}\nsplit: {fractions: {}}\n"
        "model: {name: din}\n"
    )
    assert main(["content", "evaluate", "--config", str(config)]) == exit_status.USAGE
    assert "content.modalities: there are none" in capfd.readouterr().err
