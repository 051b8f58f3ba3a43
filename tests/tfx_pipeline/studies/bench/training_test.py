"""`dmf bench training`: every model of the registry trains on both kinds of batches, and is named by its name."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dmf_keras.models import model_names
from tfx_pipeline.cli import main
from tfx_pipeline.studies.bench import training


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(training, "REQUESTS_PER_BATCH", 4)


def test_json_is_one_object_with_everything(capfd, small_batches):
    arguments = ["bench", "training", "--models", "dmf,mean_pooling,dmf", "--seconds", "0.05", "--json"]
    assert main(arguments) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    report = json.loads(printed.out)
    kinds = [(entry["model"], entry["candidates_per_request"]) for entry in report["results"]]
    assert kinds == [("dmf", 1), ("dmf", 16), ("mean_pooling", 1), ("mean_pooling", 16)]
    for entry in report["results"]:
        assert math.isfinite(entry["candidates_per_second"])
        requests_per_second = 1000 * 4 / entry["milliseconds_per_step"]
        assert entry["examples_per_second"] == pytest.approx(requests_per_second)
        assert entry["candidates_per_second"] == pytest.approx(requests_per_second * entry["candidates_per_request"])
    speed = dict(zip(kinds, (entry["candidates_per_second"] for entry in report["results"]), strict=True))
    assert report["grouped_vs_pointwise"] == {
        name: pytest.approx(speed[name, 16] / speed[name, 1]) for name in ("dmf", "mean_pooling")
    }
    assert report["machine"]["cores"] >= 1


@pytest.mark.parametrize("name", model_names())
def test_a_step_trains_every_model(name, small_batches):
    step = training.train_step(training.new_model(name), candidates=3)
    losses = [step() for _ in range(40)]
    assert np.isfinite(losses).all()
    # Few enough requests to learn by heart.
    assert np.mean(losses[-8:]) < np.mean(losses[:8])


def test_the_same_items_of_tables_of_two_sizes(capfd, small_batches):
    arguments = ["bench", "training", "--models", "mean_pooling", "--items", "10000,30000", "--seconds", "0.05"]
    assert main([*arguments, "--row-updates", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["row_updates"]
    assert [(e["items"], e["candidates_per_request"]) for e in report["results"]] == [
        (10_000, 1),
        (10_000, 16),
        (30_000, 1),
        (30_000, 16),
    ]
    assert list(report["grouped_vs_pointwise"]) == ["mean_pooling", "mean_pooling, 30,000 items"]
    model = training.new_model("mean_pooling", 30_000, rows=True)
    before = np.array(model.item_embedding.embeddings)
    training.train_step(model, candidates=3)()
    moved = np.flatnonzero(np.abs(np.array(model.item_embedding.embeddings) - before).max(axis=1))
    assert len(moved) > 0 and set(moved % 3) == {0} and moved.max() > 10_000


def test_precisions_and_another_head(capfd, small_batches):
    arguments = ["bench", "training", "--models", "mean_pooling,qin", "--precision", "both", "--hidden-units", "24,12"]
    assert main([*arguments, "--seconds", "0.05", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["hidden_units"] == [24, 12]
    labels = ["mean_pooling", "mean_pooling bfloat16", "qin", "qin bfloat16"]
    assert list(report["grouped_vs_pointwise"]) == labels
    assert [e["precision"] for e in report["results"]] == 2 * [*2 * ["float32"], *2 * ["bfloat16"]]
    model = training.new_model("mean_pooling", precision="bfloat16", hidden_units=(24, 12))
    assert list(model.head.hidden_units) == [24, 12]
    # The weights that are trained are float32.
    assert (model.head.compute_dtype, model.head.variable_dtype) == ("bfloat16", "float32")


def test_a_table_that_is_too_small_for_the_items_is_refused(capfd):
    with pytest.raises(SystemExit):
        main(["bench", "training", "--items", "10000,500"])
    assert "must be at least 10000 each, got 500" in capfd.readouterr().err


def test_a_reader_gets_a_table(capfd, small_batches):
    assert main(["bench", "training", "--models", "mean_pooling", "--seconds", "0.05"]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    for word in ("mean_pooling", "candidates/s", "batches of 4 requests", "TensorFlow"):
        assert word in printed.out


def test_a_model_that_does_not_exist_is_refused_with_those_that_do(capfd):
    assert main(["bench", "training", "--models", "dmf,simteer"]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    known = ", ".join(model_names())
    assert printed.err == (f"configuration: --models: no model 'simteer' (did you mean 'simtier'?); models: {known}\n")
