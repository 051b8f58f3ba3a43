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
    assert [str(contender.label) for contender in plan.contenders] == [
        "din",
        "mean_pooling",
        "target_attention",
        "two_towers",
    ]
    assert plan.reference == "target_attention"
    said = capsys.readouterr().err
    left_out = (
        "content_concat, diff_msin, dmf, dmf_centric, dmf_enriched, dmf_paper, early_fusion, make, mim, muse, qin, "
        "sid_coord, simtier"
    )
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

    def test_a_model_that_reads_them_is_refused_without_in_one_sentence(self, refusal, load):
        (problem,) = refusal("model.name=sid_coord")
        assert problem == (
            "model.name: 'sid_coord' reads semantic ids, and there are none; give content.codes, such as "
            "codes: {of: text}, or choose another model"
        )
        assert load("model.name=sid_coord", "content.codes={of: text}").model.name == "sid_coord"

    def test_a_label_of_such_a_model_is_refused(self, refusal, load):
        (problem,) = refusal("comparison={models: {sid_coord: {}, dmf: {}}}")
        assert "'sid_coord': reads semantic ids, and the configuration has none (content.codes)" in problem
        with pytest.raises(ConfigError, match=r"--models: 'sid_coord': reads semantic ids"):
            make_plan(load(), ["sid_coord", "dmf"])

    def test_a_label_must_keep_the_modality_that_they_are_of(self):
        assert Label.parse("sid_coord@text", ["text", "image"], "text") == Label("sid_coord", ("text",))
        with pytest.raises(ValueError, match=r"'sid_coord@image': reads semantic ids, which are of 'text'"):
            Label.parse("sid_coord@image", ["text", "image"], "text")

    def test_a_comparison_of_all_models_leaves_it_out_without_and_says_so(self, load, capsys):
        plan = make_plan(load())
        assert "sid_coord" not in [str(contender.label) for contender in plan.contenders]
        assert (
            "left out, as the configuration has no semantic ids (content.codes): sid_coord" in capsys.readouterr().err
        )
        plan = make_plan(load("content.codes={of: text}"))
        assert "sid_coord" in [str(contender.label) for contender in plan.contenders]
        assert "left out" not in capsys.readouterr().err
