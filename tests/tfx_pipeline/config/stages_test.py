from __future__ import annotations

from pathlib import Path

import pytest

from tfx_pipeline.config import load_config
from tfx_pipeline.errors import ConfigError

DEFAULT = Path(__file__).resolve().parents[3] / "pipeline_config.yaml"


def test_without_the_section_there_is_ranking_alone():
    config = load_config(DEFAULT)
    assert config.stages is None
    assert "stages" not in config.model_dump(mode="json")


def test_an_empty_section_is_both_stages():
    stages = load_config(DEFAULT, ["stages={}"]).stages
    assert stages is not None
    assert (stages.retrieval.batch_size, stages.ranking.candidates) == (512, 500)


@pytest.mark.parametrize(("settings", "message"), [
    (["stages.retrieval.params={dmi: 3}"], r"'two_towers' has no parameter 'dmi' \(did you mean 'dim'\?\)"),
    (["stages.retrieval.params={dim: 0}"], "dim must be an integer of at least 1, got 0"),
    (["stages.retrieval.batch_size=1"], "stages.retrieval.batch_size"),
    (["stages.ranking.candidates=0"], "stages.ranking.candidates"),
    (["stages.rank={}"], "stages.rank"),
    (["stages={}", "features.context={k: {kind: numeric}}"], "features: 'k' is an input of retrieval"),
    (
        ["stages.ranking.retrieved_negatives=4", "features.candidate={price: {kind: numeric}}"],
        r"stages.ranking.retrieved_negatives: the log has columns of candidates \(features.candidate: price\)",
    ),
    (["stages={}", "features.user={exclude_item_id: {kind: categorical}}"], "give the feature another name"),
])  # fmt: skip
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_config(DEFAULT, settings)
