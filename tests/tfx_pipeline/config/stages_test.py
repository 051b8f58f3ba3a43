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


def test_an_approximate_index_is_made_where_it_is_asked_for():
    assert load_config(DEFAULT, ["stages={}"]).stages.retrieval.approximate is None
    retrieval = load_config(DEFAULT, ["stages.retrieval.approximate={}"]).stages.retrieval
    assert retrieval.approximate.model_dump() == {
        "connectivity": 16, "expansion_add": 128, "expansion_search": 1000, "at": 500, "min_recall": 0.95,
    }  # fmt: skip
    # What a step of before was given is not another now.
    assert "approximate" not in load_config(DEFAULT, ["stages={}"]).model_dump(mode="json")["stages"]["retrieval"]


def test_a_missing_library_is_said_before_any_step(monkeypatch):
    from serving import approximate_index
    from tfx_pipeline.training.retrieval import approximate

    def missing():
        raise approximate_index.MissingLibrary("usearch is not installed; install the extra `retrieval`")

    monkeypatch.setattr(approximate, "usearch_index", missing)
    approximate.check_library(None)
    with pytest.raises(
        ConfigError, match=r"stages.retrieval.approximate: usearch is not installed; .*leave the section"
    ):
        approximate.check_library(
            load_config(DEFAULT, ["stages.retrieval.approximate={}"]).stages.retrieval.approximate
        )


@pytest.mark.parametrize(("settings", "message"), [
    (["stages.retrieval.approximate={at: 0}"], "stages.retrieval.approximate.at"),
    (["stages.retrieval.approximate={connectivity: 1}"], "stages.retrieval.approximate.connectivity"),
    (["stages.retrieval.approximate={min_recall: 1.5}"], "stages.retrieval.approximate.min_recall"),
    (["stages.retrieval.approximate={k: 5}"], "stages.retrieval.approximate.k"),
    (["stages.retrieval.params={dmi: 3}"], r"'two_towers' has no parameter 'dmi' \(did you mean 'dim'\?\)"),
    (["stages.retrieval.params={dim: 0}"], "dim must be an integer of at least 1, got 0"),
    (["stages.retrieval.batch_size=1"], "stages.retrieval.batch_size"),
    (["stages.ranking.candidates=0"], "stages.ranking.candidates"),
    (["stages.rank={}"], "stages.rank"),
    (["stages={}", "features.context={k: {kind: numeric}}"], "features: 'k' is an input of retrieval"),
    (["stages={}", "features.user={exclude_item_id: {kind: categorical}}"], "give the feature another name"),
])  # fmt: skip
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_config(DEFAULT, settings)
