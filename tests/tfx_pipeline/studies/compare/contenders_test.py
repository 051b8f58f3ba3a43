"""Which models are compared: asked for on the command line, in the configuration, or neither."""

from __future__ import annotations

import argparse

import pytest

from dmf_keras.models import model_names
from dmf_keras.models.registry import reads_codes
from tests.tfx_pipeline.config.conftest import MINIMAL
from tfx_pipeline.cli.compare import add
from tfx_pipeline.config import PipelineConfig, load_config
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.studies.compare.contenders import make_plan

SECTION = """
    image: {path: image.npz}
training: {seed: 7}
comparison: {models: {din: {id_dim: 4}, dmf@text: {}}, training: {din: {learning_rate: 0.2}}, seeds: 2, reference: din}
"""


@pytest.fixture
def config(tmp_path) -> PipelineConfig:
    file = tmp_path / "config.yaml"
    file.write_text(MINIMAL.rstrip() + SECTION)
    return load_config(file)


def labels(plan) -> list[str]:
    return [str(contender.label) for contender in plan.contenders]


def test_the_configuration_says_what_is_compared(config):
    plan = make_plan(config)
    assert labels(plan) == ["din", "dmf@text"]
    assert plan.contenders[0].params == {"id_dim": 4}
    assert [contender.training.learning_rate for contender in plan.contenders] == [0.2, config.training.learning_rate]
    assert (plan.seeds, plan.reference) == ((7, 8), "din")


def test_the_command_line_goes_before(config):
    plan = make_plan(config, ["dmf", "dmf@image", "din", "dmf"], 1, "dmf")
    assert labels(plan) == ["dmf", "dmf@image", "din"]
    assert plan.contenders[2].params == {"id_dim": 4}
    assert (plan.seeds, plan.reference) == ((7,), "dmf")


def test_every_registered_model_is_the_default(config):
    everything = config.model_copy(update={"comparison": type(config.comparison)()})
    # Without semantic ids no model can be trained that reads them.
    assert labels(make_plan(everything)) == [name for name in model_names() if not reads_codes(name)]


@pytest.mark.parametrize(
    ("models", "reference", "problem"),
    [
        (["dnf"], None, r"--models: no model 'dnf' \(did you mean 'dmf'\?\); models: content_concat, diff_msin, din"),
        (["dmf@txt"], None, "--models: 'dmf@txt': no modality 'txt' .*modalities: text, image"),
        (["dmf"], "dmf@sound", "--reference: 'dmf@sound': no modality"),
        (["dmf", "simtier"], None, "the reference 'din' is not among the models that are compared: dmf, simtier"),
    ],
)
def test_refusals(config, models, reference, problem):
    with pytest.raises(ConfigError, match=problem):
        make_plan(config, models, None, reference)


def test_an_item_of_the_catalogue_has_no_columns_of_an_impression(tmp_path):
    shown = "features: {candidate: {price: {kind: numeric}, slot: {kind: categorical, role: bias, serving_value: '1'}}}"
    file = tmp_path / "config.yaml"
    file.write_text(f"{MINIMAL.rstrip()}{SECTION}{shown}")
    config = load_config(file)
    assert not make_plan(config).catalogue
    problem = r"--catalogue: din, dmf@text look at columns of candidates \(price\), .*: din~candidates"
    with pytest.raises(ConfigError, match=problem):
        make_plan(config, catalogue=True)
    # Where an item was shown has a stated value when it is asked for.
    assert make_plan(config, ["din~candidates"], None, "din~candidates", catalogue=True).catalogue


def test_seeds_end_where_those_of_random_generators_do(config):
    late = config.model_copy(update={"training": config.training.model_copy(update={"seed": 2**32 - 2})})
    assert make_plan(late, seeds=2).seeds == (2**32 - 2, 2**32 - 1)
    with pytest.raises(ConfigError, match=r"training\.seed: 3 seeds from 4294967294 go beyond 4294967295"):
        make_plan(late, seeds=3)


def test_labels_on_the_command_line_may_have_spaces_between_them(config, tmp_path):
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    parsed = parser.parse_args(["compare", "--config", str(tmp_path / "config.yaml"), "--models", "din, dnf"])
    with pytest.raises(ConfigError, match="--models: no model 'dnf'"):
        parsed.command(parsed)
