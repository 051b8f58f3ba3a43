"""One finished training on disk, and how long models take to rank."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from tfx_pipeline.config.label import Label
from tfx_pipeline.config.schema import Training
from tfx_pipeline.evaluation.items_had import items_had
from tfx_pipeline.studies.bench.machine import machine
from tfx_pipeline.studies.compare import finished
from tfx_pipeline.studies.compare.contenders import Contender
from tfx_pipeline.studies.compare.finished import count_parameters, finish, is_finished, read_finished, training_folder
from tfx_pipeline.studies.compare.rank_time import rank_times
from tfx_pipeline.studies.compare.report import RankRequest
from tfx_pipeline.training.model_training import new_model
from tfx_pipeline.training.trial import Trial

PARAMS = {"id_dim": 8, "hidden_units": [16]}


@pytest.fixture(scope="module")
def trial() -> Trial:
    return Trial("mean_pooling", PARAMS, 5, Training(epochs=2, batch_size=64))


def test_a_training_is_finished_once_its_result_is_written(trial, tiny_data, tmp_path, monkeypatch):
    class Killed(BaseException):
        """Nothing may catch it, as after SIGKILL."""

    def die(*_arguments, **_options):
        raise Killed

    folder = training_folder(tmp_path, trial, tiny_data)
    assert folder.name == f"mean_pooling-5-{trial.key(tiny_data)}"
    with monkeypatch.context() as patched:
        patched.setattr(finished, "count_parameters", die)
        with pytest.raises(Killed):
            finish(trial, tiny_data, folder, "one of one")
    assert not is_finished(folder)
    # All epochs are behind it: it has its best weights, and only scores.
    finish(trial, tiny_data, folder, "one of one")
    assert is_finished(folder)
    assert {path.name for path in folder.iterdir()} == {"result.json", "rows.npz", "tensorboard"}
    found = read_finished(folder)
    assert len(found.facts.history) == 2
    assert (found.facts.label, found.facts.seed, found.facts.params["id_dim"]) == ("mean_pooling", 5, 8)
    assert found.facts.timed.machine == machine()
    assert abs(dt.datetime.fromisoformat(found.facts.timed.at) - dt.datetime.now(dt.UTC)) < dt.timedelta(hours=1)
    assert len(found.rows.labels) == len(found.rows.probabilities) > 100
    assert np.isfinite(found.rows.probabilities).all()


def test_one_that_did_not_rank_the_catalogue_is_not_finished_for_who_asks(trial, tiny_data, tmp_path):
    folder, ids = training_folder(tmp_path, trial, tiny_data), tiny_data.training_data.content.item_ids
    finish(trial, tiny_data, folder, "one of one")
    assert is_finished(folder) and not is_finished(folder, catalogue=True)
    before = read_finished(folder)
    finish(
        trial, tiny_data, folder, "again", items_had(list(tiny_data.examples.values()), tiny_data.examples["test"], ids)
    )
    assert is_finished(folder) and is_finished(folder, catalogue=True)
    after = read_finished(folder, catalogue=True)
    np.testing.assert_array_equal(after.rows.probabilities, before.rows.probabilities)
    assert before.catalogue is None and read_finished(folder).catalogue is None
    assert after.catalogue.items == len(ids)
    assert 0 < after.catalogue.metrics([10])["hr@10"] <= 1


def test_parameters_of_tables_are_counted_apart(tiny_data):
    model = new_model("mean_pooling", PARAMS, tiny_data.training_data, seed=1)
    schema = model.schema
    tables = 8 * (schema.item_rows + schema.user_rows) + 16 * sum(schema.categorical.values())
    counted = count_parameters(model)
    assert counted.embeddings == tables
    assert counted.trainable == sum(np.array(weight).size for weight in model.trainable_weights)
    assert counted.rest == counted.trainable - tables > 0


def test_ranking_is_timed_for_each_contender(tiny_data, monkeypatch):
    from tfx_pipeline.studies.compare import rank_time

    monkeypatch.setattr(rank_time, "_SECONDS_PER_MODEL", 0.05)
    contenders = [
        Contender(Label("dmf", ("text",)), {}, Training()),
        Contender(Label("mean_pooling", ()), PARAMS, Training()),
    ]
    times, asked = rank_times(contenders, Training(), tiny_data)
    assert set(times) == {"dmf@text", "mean_pooling"}
    assert all(timing.calls >= 5 and timing.median > 0 for timing in times.values())
    # The longest history of the tiny world, of which a model uses the last four.
    assert asked == RankRequest(candidates=1200, history=5)
