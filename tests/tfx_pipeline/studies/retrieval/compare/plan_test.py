"""Labels of towers, and what a comparison of retrieval trains and judges."""

from __future__ import annotations

import pytest

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.stages import Retrieval
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.studies.retrieval.compare.plan import make_plan, parse_label


def _config(modalities=("text", "image"), **sections) -> PipelineConfig:
    nowhere = {"path": "nowhere.parquet"}
    return PipelineConfig.model_validate(
        {
            "name": "tiny",
            "output": "out",
            "data": {"interactions": nowhere, "items": nowhere},
            "split": {"fractions": {}},
            "content": {"modalities": {name: {**nowhere, "width": 6} for name in modalities}},
            **sections,
        }
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("two_towers", "two_towers"),
        ("two_towers@text", "two_towers@text"),
        # Order says nothing, all modalities are none named.
        ("two_towers@image+text", "two_towers"),
        ("two_towers~items", "two_towers~items"),
        ("two_towers~items~content", "two_towers~content~items"),
        ("two_towers@text~sequences~ages", "two_towers@text~ages~sequences"),
    ],
)
def test_labels_have_one_way_to_be_written(text, written):
    label = parse_label(text, _config().content)
    assert str(label) == written
    assert parse_label(written, _config().content) == label


@pytest.mark.parametrize(
    ("towers", "problem"),
    [
        ("two_tower", r"--towers: 'two_tower': no model of two towers 'two_tower' \(did you mean 'two_towers'\?\)"),
        ("dmf", r"'dmf': no model of two towers 'dmf'; expected two_towers"),
        ("", "'': no model of two towers ''"),
        ("two_towers@txt", r"no modality 'txt' \(did you mean 'text'\?\); modalities: text, image"),
        ("two_towers~contents", r"go without content, items, ages, sequences, after ~; got 'contents' \(did you mean"),
        # Of candidates towers see no columns anyway.
        ("two_towers~candidates", "got 'candidates'"),
        ("two_towers@text~content", "names a modality and goes without content"),
    ],
)
def test_what_is_no_label_of_towers_is_refused(towers, problem):
    with pytest.raises(ConfigError, match=problem):
        make_plan(_config(), [towers])


def test_without_content_there_is_none_to_go_without():
    bare = _config(modalities=(), model={"name": "mean_pooling"})
    with pytest.raises(ConfigError, match=r"'two_towers~content': the configuration has no content"):
        make_plan(bare, ["two_towers~content"])
    plan = make_plan(bare)
    assert [str(towers.label) for towers in plan.towers] == ["two_towers"]
    assert plan.baselines == ("popularity", "co_occurrence")


def test_what_nobody_asked_for_stands_to_reason():
    config = _config(training={"seed": 5}, comparison={"seeds": 2})
    plan = make_plan(config)
    assert [str(towers.label) for towers in plan.towers] == ["two_towers", "two_towers~content"]
    # The configuration has no stages: towers are trained with the defaults.
    assert [towers.settings for towers in plan.towers] == [Retrieval(), Retrieval(params={"content_dim": 0})]
    assert (plan.seeds, plan.reference, plan.split) == ((5, 6), "two_towers", "test")
    assert plan.baselines == ("popularity", "co_occurrence", "content")
    assert make_plan(config, seeds=1).seeds == (5,)


def test_towers_share_the_stage_of_the_configuration():
    stage = {"params": {"id_dim": 8, "content_dim": 4}, "epochs": 3}
    plan = make_plan(_config(stages={"retrieval": stage}), ["two_towers~content", "two_towers@text", "two_towers@text"])
    assert [str(towers.label) for towers in plan.towers] == ["two_towers~content", "two_towers@text"]
    without, of_text = (towers.settings for towers in plan.towers)
    assert (without.epochs, without.params) == (3, {"id_dim": 8, "content_dim": 0})
    assert of_text.params == {"id_dim": 8, "content_dim": 4}


def test_the_reference_is_one_of_the_towers_or_the_baselines():
    config = _config()
    plan = make_plan(config, ["two_towers", "two_towers~items~content"], reference="two_towers~items~content")
    assert plan.reference == "two_towers~content~items"
    assert make_plan(config, reference="popularity").reference == "popularity"
    with pytest.raises(
        ConfigError, match=r"'two_towers~items' is not among what is compared .*: two_towers, two_towers~"
    ):
        make_plan(config, reference="two_towers~items")
    with pytest.raises(ConfigError, match=r"'popularty' is not among what is compared \(did you mean 'popularity'\?\)"):
        make_plan(config, reference="popularty")
    with pytest.raises(ConfigError, match="--reference: 'two_towers@txt': no modality 'txt'"):
        make_plan(config, reference="two_towers@txt")


def test_rankers_are_models_of_the_registry():
    config = _config(comparison={"models": {"din": {"id_dim": 8}}, "training": {"din": {"batch_size": 64}}})
    (din,) = make_plan(config, rankers=["din", "din"]).rankers
    assert (str(din.label), din.params, din.training.batch_size) == ("din", {"id_dim": 8}, 64)
    assert make_plan(config).rankers == ()
    with pytest.raises(ConfigError, match=r"--rankers: no model 'dnf' \(did you mean 'dmf'\?\)"):
        make_plan(config, rankers=["dnf"])


def test_baselines_are_not_the_towers_of_the_last_run():
    with pytest.raises(ConfigError, match=r"--retrievers: unknown 'two_towers'.*allowed: co_occurrence, content"):
        make_plan(_config(), retrievers=["popularity", "two_towers"])
    assert make_plan(_config(), retrievers=["content@text"]).baselines == ("content@text",)
