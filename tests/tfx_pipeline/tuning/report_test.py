"""What a search leaves: a table, a configuration that loads, arguments for a shell, a section to compare with."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml
from rich.console import Console

from tests.tfx_pipeline.tuning.searches import Trainings, make_search
from tfx_pipeline.config import load_config
from tfx_pipeline.config.evidence import Label
from tfx_pipeline.tuning.report import (
    best_trial,
    read_report,
    search_report,
    set_arguments,
    trials_table,
    write_best_config,
    write_comparison,
    write_report,
)
from tfx_pipeline.tuning.values import params_as_they_are, training_as_it_is, with_values

CONFIG = """\
name: shop
output: runs/shop
data:
  interactions: {path: log.parquet}
  items: {path: items.csv}
split: {dates: {eval_from: 2025-03-25, test_from: 2025-03-28T12:00:00}}
features: {context: {device: {kind: categorical}}}
content:
  modalities:
    text: {path: text.npz}
    image: {path: image.npz, dim: 8}
model: {params: {id_dim: 8, dropout: 0.8}}
training: {batch_size: 64}
tuning:
  run_in_pipeline: true
  space: {params.id_dim: {choice: [8, 16]}}
"""
VALUES = {"params.hidden_units": [64, 32], "params.dropout": 0.25, "training.learning_rate": 1e-05}


@pytest.fixture
def config_file(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def report(tmp_path):
    fails = Trainings(failing=lambda values: values.get("params.id_dim") == 8)
    search = make_search(tmp_path, fails, trials=15)
    search.search()
    return search_report(search)


def _report_with(values, label="dmf"):
    trials = [{"number": n, "values": v, "metrics": {"gauc": 0.5 + n / 10}} for n, v in enumerate(({}, values))]
    return {"model": label, "objective": "gauc", "trials": trials, "best": 1}


def test_report_survives_a_file(report, tmp_path):
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report == json.loads((tmp_path / "tune.json").read_text())
    assert [trial["number"] for trial in report["trials"]] == list(range(16))
    assert best_trial(report)["metrics"]["gauc"] == max(t["metrics"].get("gauc", 0) for t in report["trials"])


def test_table_has_the_best_trials_and_the_configuration_as_it_is(report):
    console = Console(width=140, record=True)
    console.print(trials_table(report))
    text = console.export_text()
    failed = sum(trial["failure"] is not None for trial in report["trials"])
    assert failed
    assert f"dmf: 16 trials by gauc of eval, {failed} failed" in text
    rows = [line for line in text.splitlines() if " of 2" in line]
    assert len(rows) == 11
    assert f"{best_trial(report)['metrics']['gauc']:.4f}" in rows[0]
    assert "as it is" in rows[-1]


def test_best_configuration_is_the_old_one_with_the_best_values(config_file, tmp_path):
    config = load_config(config_file, ["training.epochs=3"])
    path = tmp_path / "out" / "best.yaml"
    write_best_config(config, Label("dmf", ()), _report_with(VALUES), path)
    best = load_config(path)
    params, training = with_values(config.model.params, config.training, VALUES)
    assert best.model.params == params == {"id_dim": 8, "dropout": 0.25, "hidden_units": [64, 32]}
    assert best.training == training
    assert best.training.epochs == 3
    assert not best.tuning.space
    same = {"model": config.model, "training": config.training, "tuning": config.tuning}
    assert best.model_copy(update=same) == config
    assert path.read_text().startswith("# dmf, best of 2 trials: gauc of eval 0.6000.")


def test_best_configuration_of_another_model_and_one_modality(config_file, tmp_path):
    config = load_config(config_file)
    write_best_config(config, Label("simtier", ("image",)), _report_with({"params.buckets": 9}), tmp_path / "best.yaml")
    best = load_config(tmp_path / "best.yaml")
    assert (best.model.name, best.model.params) == ("simtier", {"id_dim": 8, "dropout": 0.8, "buckets": 9})
    assert list(best.content.modalities) == ["image"]


def test_a_search_begins_with_what_the_configuration_gives_the_model(config_file):
    """Its own model as `dmf run` trains it, another as `dmf compare` does."""
    config = load_config(config_file, ["comparison.models={dmf: {heads: 2}, simtier: {buckets: 7}}"])
    assert params_as_they_are(config, Label("dmf", ())) == {"id_dim": 8, "dropout": 0.8}
    assert params_as_they_are(config, Label("simtier", ())) == {"id_dim": 8, "dropout": 0.8, "buckets": 7}
    assert params_as_they_are(config, Label("dmf", ("text",))) == {"id_dim": 8, "dropout": 0.8, "heads": 2}


def test_a_search_begins_with_the_training_that_a_comparison_gives_the_model(config_file):
    rates = "comparison.training={dmf: {learning_rate: 0.2}, simtier: {learning_rate: 0.3}}"
    config = load_config(config_file, [rates])
    assert training_as_it_is(config, Label("dmf", ())) == config.training
    assert training_as_it_is(config, Label("simtier", ())).learning_rate == 0.3
    assert training_as_it_is(config, Label("dmf", ("text",))).learning_rate == 0.2


def test_printed_arguments_give_the_same_configuration(config_file, tmp_path):
    config = load_config(config_file)
    words = shlex.split(set_arguments(VALUES))
    assert words[::2] == ["--set"] * len(VALUES)
    overridden = load_config(config_file, words[1::2])
    params, training = with_values(config.model.params, config.training, VALUES)
    assert (overridden.model.params, overridden.training) == (params, training)


def test_comparison_section_is_one_that_a_configuration_takes(config_file, tmp_path):
    reports = {
        "dmf": _report_with(VALUES | {"training.epochs": 4}),
        "din": _report_with({"params.activation_units": [8]}, "din"),
    }
    given = ["comparison.models={dmf: {heads: 2, dropout: 0.5}}", "comparison.training={dmf: {batch_size: 8}}"]
    write_comparison(load_config(config_file, given), reports, tmp_path / "comparison.yaml")
    text = (tmp_path / "comparison.yaml").read_text()
    assert "# best budget of dmf: {epochs: 4}" in text
    config_file.write_text(CONFIG + text)
    comparison = load_config(config_file).comparison
    assert {label: own.model_dump() for label, own in comparison.training.items()} == {
        "dmf": {"learning_rate": 1e-05, "batch_size": 8}
    }
    assert comparison.models == {
        "dmf": {"heads": 2, "hidden_units": [64, 32], "dropout": 0.25},
        "din": {"activation_units": [8]},
    }
    assert list(yaml.safe_load(text)) == ["comparison"]
