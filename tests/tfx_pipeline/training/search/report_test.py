"""What a search leaves: a table, a configuration that loads, arguments for a shell, a section to compare with."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import sys

import pytest
import yaml

from dmf_keras.models import registry
from dmf_keras.models.registry import model_config
from tests.tfx_pipeline.training.search.searches import Trainings, make_search
from tfx_pipeline.config import load_config
from tfx_pipeline.config.label import Label
from tfx_pipeline.console import Console
from tfx_pipeline.studies.compare.contenders import make_plan
from tfx_pipeline.training.search.outcome import Outcome
from tfx_pipeline.training.search.report import (
    SearchReport,
    TrialReport,
    read_report,
    search_report,
    set_arguments,
    trials_table,
    write_best_config,
    write_comparison,
    write_report,
)
from tfx_pipeline.training.search.values import params_as_they_are, training_as_it_is, with_values

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
    trials = [TrialReport(n, v, {"gauc": 0.5 + n / 10}, 2, 1, 3.0, None) for n, v in enumerate(({}, values))]
    return SearchReport(
        model=label,
        algorithm="random",
        objective="gauc",
        seed=1,
        space={},
        left_out=[],
        trials=trials,
        best=1,
        out_of_time=False,
    )


def test_report_survives_a_file(report, tmp_path):
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report
    assert report.to_json() == json.loads((tmp_path / "tune.json").read_text())
    assert [trial.number for trial in report.trials] == list(range(16))
    assert report.best_trial.metrics["gauc"] == max(t.metrics.get("gauc", 0) for t in report.trials)


def test_entries_of_the_file_stand_in_their_order(report):
    assert list(report.to_json()) == [
        *("model", "algorithm", "objective", "seed", "space", "left_out", "trials", "best", "out_of_time", "sampled"),
    ]
    trial = ["number", "values", "metrics", "epochs", "best_epoch", "seconds", "failure"]
    assert list(report.to_json()["trials"][0]) == trial


@pytest.mark.parametrize(
    ("aucs", "doubted"), [((0.4993, 0.5017), True), ((0.5017, 0.52), False), ((None, None), False)]
)
def test_a_search_that_never_left_chance_says_so(aucs, doubted):
    report = _report_with({})
    trials = [dataclasses.replace(trial, metrics={"auc": auc}) for trial, auc in zip(report.trials, aucs, strict=True)]
    doubts = dataclasses.replace(report, trials=trials).doubts
    assert [
        doubt.startswith("dmf never left chance: the highest eval AUC of all trials is 0.5017") for doubt in doubts
    ] == ([True] * doubted)


def test_best_configuration_finds_the_module_of_an_own_model_from_its_own_folder(config_file, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (config_file.parent / "my_tuned.py").write_text(
        "from dmf_keras.models import MeanPoolingConfig, register_model\n"
        "register_model('tuned', MeanPoolingConfig, 'my_tuned:Tuned')\n"
    )
    config = load_config(config_file, ["model={name: tuned, module: my_tuned}"])
    write_best_config(config, Label("tuned", ()), _report_with({}, "tuned"), tmp_path / "tune" / "best.yaml")
    sys.path.remove(str(config_file.parent))
    del sys.modules["my_tuned"]
    best = load_config(tmp_path / "tune" / "best.yaml")
    assert (best.model.name, best.model.module_folder) == ("tuned", config_file.parent)
    del sys.modules["my_tuned"]


def test_table_has_the_best_trials_and_the_configuration_as_it_is(report):
    console = Console(width=140, record=True)
    console.print(trials_table(report))
    text = console.export_text()
    failed = sum(trial.failure is not None for trial in report.trials)
    assert failed
    assert f"dmf: 16 trials by gauc of eval, {failed} failed" in text
    rows = [line for line in text.splitlines() if " of 2" in line]
    assert len(rows) == 11
    assert f"{report.best_trial.metrics['gauc']:.4f}" in rows[0]
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
    """Also where the section `comparison` names a modality that the configuration then lacks."""
    config = load_config(config_file, ["comparison.models={dmf: {}, dmf@text: {}}"])
    write_best_config(config, Label("simtier", ("image",)), _report_with({"params.buckets": 9}), tmp_path / "best.yaml")
    best = load_config(tmp_path / "best.yaml")
    assert (best.model.name, best.model.params) == ("simtier", {"id_dim": 8, "dropout": 0.8, "buckets": 9})
    assert list(best.content.modalities) == ["image"]


@pytest.mark.parametrize("word", ["items", "candidates"])
def test_best_configuration_of_a_model_without_columns(config_file, tmp_path, word):
    section = {"items": "item", "candidates": "candidate"}[word]
    config = load_config(config_file, [f"features.{section}={{price: {{kind: numeric}}}}"])
    write_best_config(config, Label("dmf", (), (word,)), _report_with({}), tmp_path / "best.yaml")
    assert not getattr(load_config(tmp_path / "best.yaml").features, section)
    assert getattr(config.features, section)


def test_best_configuration_of_a_model_without_ages(config_file, tmp_path):
    config = load_config(config_file, ["history.age_buckets=8"])
    for without, buckets in ((("ages",), None), ((), 8)):
        write_best_config(config, Label("dmf", (), without), _report_with({}), tmp_path / "best.yaml")
        assert load_config(tmp_path / "best.yaml").history.age_buckets == buckets


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


GIVEN = (
    "comparison.models={dmf: {heads: 2, dropout: 0.5}, simtier: {buckets: 7}, dmf@image: {}}",
    "comparison.training={dmf: {batch_size: 8}}",
    "comparison.seeds=5",
)


def _written_comparison(config_file, reports, given=()):
    """The comparison that was tuned, the text that was written, and a configuration that has it."""
    config = load_config(config_file, given)
    write_comparison(config, reports, config_file.with_name("comparison.yaml"))
    text = config_file.with_name("comparison.yaml").read_text()
    assert list(yaml.safe_load(text)) == ["comparison"]
    config_file.write_text(CONFIG + text)
    return config, text, load_config(config_file)


def _settings(label, params, training):
    return model_config(label.model, params).to_dict(), training


@pytest.mark.parametrize("given", [(), GIVEN])
def test_a_comparison_trains_each_model_as_its_best_trial_was(config_file, given):
    """None inherits what another was searched to, or what the section had for its model before."""
    values = {
        "dmf": VALUES,
        "dmf@text": {"params.alpha": 0.1, "training.batch_size": 32},
        "din": {"params.activation_units": [8]},
        "mean_pooling": {},
    }
    reports = {label: _report_with(of_label, label) for label, of_label in values.items()}
    config, _, compared = _written_comparison(config_file, reports, given)
    trials = {}
    for text, of_label in values.items():
        label = Label.parse(text, ["text", "image"])
        as_it_is = params_as_they_are(config, label), training_as_it_is(config, label)
        trials[text] = _settings(label, *with_values(*as_it_is, of_label))
    plan = make_plan(compared)
    found = {str(one.label): _settings(one.label, one.params, one.training) for one in plan.contenders}
    assert {text: found[text] for text in values} == trials
    if given:
        before = {
            str(one.label): _settings(one.label, one.params, one.training) for one in make_plan(config).contenders
        }
        untuned = {"simtier", "dmf@image"}
        assert set(found) - set(values) == untuned
        assert {text: found[text] for text in untuned} == {text: before[text] for text in untuned}
        assert (plan.seeds, plan.reference) == (tuple(range(42, 47)), "dmf")


def test_a_comparison_without_the_reference_has_the_first_model_as_one(config_file):
    reports = {label: _report_with({}, label) for label in ("din", "simtier")}
    assert _written_comparison(config_file, reports)[2].comparison.reference == "din"


def test_the_best_budget_of_a_model_is_a_comment(config_file):
    reports = {"dmf": _report_with({"training.epochs": 4}), "din": _report_with({}, "din")}
    _, text, compared = _written_comparison(config_file, reports)
    assert text.startswith("# best budget of dmf: {epochs: 4}\n")
    assert {one.training.epochs for one in make_plan(compared).contenders} == {5}


def test_metrics_without_an_answer_are_null_and_a_dash(tmp_path):
    outcome = Outcome({"gauc": math.nan, "auc": 0.6, "log_loss": 0.5}, 2, 1, 3.0)
    outcome.write(tmp_path)
    assert json.loads((tmp_path / "outcome.json").read_text())["metrics"]["gauc"] is None
    assert math.isnan(Outcome.read(tmp_path).metrics["gauc"])
    search = make_search(tmp_path / "search", lambda number, values, best: outcome, trials=1, objective="auc")
    search.search()
    write_report(search_report(search), tmp_path)
    report = read_report(tmp_path)
    assert report.best_trial.metrics == {"gauc": None, "auc": 0.6, "log_loss": 0.5}
    assert "NaN" not in (tmp_path / "tune.json").read_text()
    console = Console(width=140, record=True)
    console.print(trials_table(report))
    (row, *_) = [line for line in console.export_text().splitlines() if " of 2" in line]
    assert [cell.strip() for cell in row.split("│")][2:4] == ["-", "0.6000"]
