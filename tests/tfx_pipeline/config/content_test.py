"""Configurations without content: what they may ask for."""

from __future__ import annotations

import pytest

from tfx_pipeline.config.label import Label
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.studies.compare.contenders import make_plan

WITHOUT = ["content={}", "model.name=target_attention", "comparison={}", "tuning={}", "model.params={}"]


def test_a_model_over_ids_needs_no_content(load):
    config = load(*WITHOUT)
    assert config.content.modalities == {}


def test_a_model_that_compares_content_is_refused_with_those_that_do_not(load):
    with pytest.raises(ConfigError, match=r"'dmf' compares content.*: din, mean_pooling, target_attention"):
        load(*WITHOUT, "model.name=dmf")


def test_a_label_of_a_model_that_compares_content_is_refused(load):
    with pytest.raises(ConfigError, match=r"comparison\.models: 'simtier': compares content, and .* has none"):
        load(*WITHOUT, "comparison={models: {simtier: {}, din: {}}, reference: din}")
    with pytest.raises(ConfigError, match=r"comparison\.reference: 'dmf': compares content"):
        load(*WITHOUT, "comparison.reference=dmf")


def test_a_comparison_of_all_models_leaves_out_those_that_compare_content(load, capsys):
    plan = make_plan(load(*WITHOUT))
    assert [str(contender.label) for contender in plan.contenders] == ["din", "mean_pooling", "target_attention"]
    assert plan.reference == "target_attention"
    said = capsys.readouterr().err
    left_out = (
        "content_concat, diff_msin, dmf, dmf_centric, dmf_enriched, dmf_paper, early_fusion, make, mim, muse, qin, "
        "simtier"
    )
    assert f"left out, as the configuration has no content: {left_out}" in said
    with pytest.raises(ConfigError, match=r"--models: 'dmf': compares content"):
        make_plan(load(*WITHOUT), ["dmf", "din"])


def test_without_content_a_label_keeps_to_the_models_that_need_none():
    assert Label.parse("din~items", []) == Label("din", (), ("items",))
    with pytest.raises(ValueError, match="'dmf': compares content"):
        Label.parse("dmf", [])
