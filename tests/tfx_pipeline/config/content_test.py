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
    left_out = "content_concat, dmf, dmf_centric, dmf_enriched, dmf_paper, early_fusion, make, mim, muse, qin, simtier"
    assert f"left out, as the configuration has no content: {left_out}" in said
    with pytest.raises(ConfigError, match=r"--models: 'dmf': compares content"):
        make_plan(load(*WITHOUT), ["dmf", "din"])


def test_without_content_a_label_keeps_to_the_models_that_need_none():
    assert Label.parse("din~items", []) == Label("din", (), ("items",))
    with pytest.raises(ValueError, match="'dmf': compares content"):
        Label.parse("dmf", [])


class TestCodes:
    def test_defaults(self, load):
        codes = load("content.codes={of: text}").content.codes
        assert (codes.levels, codes.size, codes.of) == (3, 256, "text")
        assert load().content.codes is None

    @pytest.mark.parametrize(
        ("codes", "message"),
        [
            ("{of: image}", "codes.of: no modality 'image'; modalities: text"),
            ("{}", "content.codes.of"),
            ("{of: text, size: 1}", "content.codes.size"),
            ("{of: text, levels: 0}", "content.codes.levels"),
            ("{of: text, seed: 3}", "content.codes.seed"),
        ],
    )
    def test_refuses(self, refusal, codes, message):
        (problem,) = refusal(f"content.codes={codes}")
        assert message in problem

    def test_without_modalities_there_is_nothing_to_make_them_of(self, refusal):
        (problem,) = refusal("content={codes: {of: text}}", *WITHOUT[1:])
        assert "no modality 'text'; modalities: none" in problem
