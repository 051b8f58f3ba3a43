"""The section `content.fine_tuning`: which modalities a model is given."""

from __future__ import annotations

import pytest

from tfx_pipeline.config.content import Content
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.studies.compare.contenders import make_plan

FILES = {name: {"path": f"{name}.npz"} for name in ("text", "image", "audio")}


def content(**keys) -> Content:
    return Content.model_validate({"modalities": FILES, **keys})


def test_without_it_nothing_changes():
    assert content().names == ["text", "image", "audio"]
    assert "fine_tuning" not in content().model_dump()


def test_tuned_modalities_lie_behind_those_that_are_kept():
    assert content(fine_tuning={}).names == [*FILES, "text_tuned", "image_tuned", "audio_tuned"]
    some = content(fine_tuning={"of": ["audio", "text"], "keep": ["image"]})
    assert some.names == ["image", "text_tuned", "audio_tuned"]
    assert some.tuned == {"text_tuned": "text", "audio_tuned": "audio"}
    assert content(fine_tuning={"keep": []}).names == ["text_tuned", "image_tuned", "audio_tuned"]


@pytest.mark.parametrize("names", [["text"], ["text_tuned"], ["image", "text_tuned"], ["text", "audio", "image_tuned"]])
def test_only_gives_these_modalities_and_reads_no_others(names):
    section = content(fine_tuning={"dim": 8}).only(names)
    found = Content.model_validate(section)
    assert sorted(found.names) == sorted(names)
    assert set(found.modalities) == {name.removesuffix("_tuned") for name in names}
    assert found.fine_tuning is None or found.fine_tuning.dim == 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("content.fine_tuning={of: [picture]}", r"fine_tuning\.of: no modality 'picture'; modalities: text"),
        ("content.fine_tuning={keep: [picture]}", r"fine_tuning\.keep: no modality 'picture'; modalities: text"),
        ("content.fine_tuning={of: []}", r"fine_tuning\.of"),
        ("content.fine_tuning={dim: 0}", r"fine_tuning\.dim"),
        ("content.fine_tuning={momentum: 1}", r"fine_tuning\.momentum"),
        ("content.fine_tuning={temperature: 0}", r"fine_tuning\.temperature"),
        ("content.fine_tuning={heads: 2}", r"fine_tuning\.heads"),
    ],
)
def test_wrong_values_are_refused(load, override, message):
    with pytest.raises(ConfigError, match=message):
        load(override)


def test_names_that_clash_and_codes_without_vectors_are_refused():
    with pytest.raises(ValueError, match="makes a modality 'text_tuned', and there is one"):
        Content.model_validate(
            {"modalities": {"text": {"path": "a.npz"}, "text_tuned": {"path": "b.npz"}}, "fine_tuning": {}}
        )
    with pytest.raises(ValueError, match="codes are of 'text', whose vectors must stay"):
        content(codes={"of": "text"}, fine_tuning={"keep": ["image"]})
    with pytest.raises(ValueError, match="there are no modalities to tune"):
        Content.model_validate({"fine_tuning": {}})


def test_a_comparison_has_models_with_and_without(load):
    config = load("content.fine_tuning={}", "comparison={}", "tuning={}")
    plan = make_plan(config, ["dmf@text", "dmf@text_tuned", "dmf"], reference="dmf@text")
    assert [contender.label.modalities for contender in plan.contenders] == [("text",), ("text_tuned",), ()]
