"""`refit_fn` for real: it trains on eval too, on nothing else, and leaves what the first training leaves."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from serving import contract
from serving.export.metadata import read_json
from serving.export.servable import Servable, request_arrays
from serving.export.servable_check import check_servable
from tfx_pipeline.config.model import Model
from tfx_pipeline.config.schema import Training
from tfx_pipeline.training.model_training import train_model
from tfx_pipeline.training.refit_fn import refit_fn
from tfx_pipeline.training.run_fn import run_fn
from tfx_pipeline.training.settings import RefitSettings, TrainingSettings
from tfx_pipeline.training.training_job import TrainingJob
from tfx_pipeline.transform import transformed_features
from tfx_pipeline.transform.dataset import split_files

LIKED = "i3"
ALIKE = ["i5", "i7", "i9"]
OTHER_KIND = ["i2", "i4"]


def _plant(transformed: Path) -> None:
    """In eval everybody clicks `LIKED`, in train half of the users; test is there, as a file that cannot be read."""
    (file,) = split_files(transformed, "eval")
    records = list(tf.data.TFRecordDataset(file, compression_type="GZIP").as_numpy_iterator())
    examples = [tf.train.Example.FromString(record) for record in records]
    features = [example.features.feature for example in examples]
    index = next(
        feature[transformed_features.CANDIDATE_INDEX].int64_list.value[place]
        for feature in features
        for place, item in enumerate(feature[transformed_features.CANDIDATE_ITEM].bytes_list.value)
        if item.decode() == LIKED
    )
    with tf.io.TFRecordWriter(file, tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for example, feature in zip(examples, features, strict=True):
            feature[transformed_features.CANDIDATE_ITEM].bytes_list.value[0] = LIKED.encode()
            feature[transformed_features.CANDIDATE_INDEX].int64_list.value[0] = index
            feature[transformed_features.LABEL].int64_list.value[0] = 1
            writer.write(example.SerializeToString())
    test = transformed / "Split-test"
    test.mkdir()
    (test / "data-00000-of-00001.gz").write_bytes(b"nobody may read this")


@pytest.fixture(scope="module")
def planted(tiny_world, tmp_path_factory):
    """The tiny world with a pattern that eval alone has."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(tiny_world.transformed, folder / "transformed")
    _plant(folder / "transformed")
    training = Training(batch_size=32, epochs=4, seed=5, learning_rate=0.02, refit=True)
    # A refit hangs on no model, and this one is soon trained and exported.
    model = Model(name="mean_pooling", params={"id_dim": 8, "hidden_units": [16]})
    custom_config = {
        **tiny_world.custom_config,
        "training": training.model_dump_json(),
        "model": model.model_dump_json(),
    }
    custom_config |= {"calibration": "platt", "explain": False}
    return dataclasses.replace(tiny_world, transformed=folder / "transformed", custom_config=custom_config)


@pytest.fixture(scope="module")
def both(planted, tmp_path_factory) -> tuple[Path, Path]:
    """What the first training left, and what its refit left."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("refit")
    first_args = planted.fn_args(first)
    without = json.loads(first_args.custom_config["training"]) | {"refit": False}
    first_args.custom_config["training"] = json.dumps(without)
    run_fn(first_args)
    args = planted.fn_args(second, first_run_uri=str(first / "run"))
    args.base_model = str(first / "Format-Serving")
    refit_fn(args)
    return first, second


def _lift(model: Path) -> float:
    """By how many logits `LIKED` is above others of its kind, for users whose histories are of the other kind."""
    made = contract.ModelContract.read(model)
    found = []
    with Servable(model, optimised=False) as servable:
        for number in range(6):
            request = {"user_id": f"u{number}", "history_item_id": OTHER_KIND, "candidate_item_id": [LIKED, *ALIKE]}
            arrays = request_arrays(request | {"gender": "f", "age": 30.0, "income": 1.0}, made)
            scores = servable.run(contract.RANK, arrays)[contract.SCORE][0].astype(np.float64)
            logits = np.log(scores) - np.log1p(-scores)
            found.append(logits[0] - logits[1:].mean())
    return float(np.mean(found))


def test_the_refit_has_learnt_what_eval_alone_holds(both):
    first, refit = (_lift(folder / "Format-Serving") for folder in both)
    # Train tells nothing of it, so that the first has it a little above or below the others, by chance.
    assert refit > max(0, 3 * first), (first, refit)


def test_it_has_the_epochs_that_the_first_was_best_after_and_nothing_to_choose_one_by(both):
    first, refit = (json.loads((folder / "run" / "training.json").read_text()) for folder in both)
    assert len(refit["history"]) == first["best_epoch"] + 1
    assert refit["best_epoch"] == first["best_epoch"]
    assert (refit["train_requests"], refit["eval_requests"]) == (500, 0)
    assert not any(name.startswith("val_") for epoch in refit["history"] for name in epoch)
    assert not any((both[1] / "state").iterdir())


def test_it_can_be_served(both):
    problems, figures = check_servable(both[1] / "Format-Serving", 1e-5)
    assert problems == []
    assert figures["golden_requests"] >= 10


def test_tables_statistics_and_calibration_are_those_of_the_first(both):
    first, refit = (keras.models.load_model(folder / "run" / "model.keras") for folder in both)
    assert refit.schema == first.schema
    for name in ("x", "y"):
        before, after = (np.asarray(getattr(model.calibration, name)) for model in (first, refit))
        np.testing.assert_array_equal(after, before)
    files = ["assets.extra/item_facts.parquet", "assets.extra/slices.json", contract.LOGS_FILE]
    for file in files:
        before, after = ((folder / "Format-Serving" / file).read_bytes() for folder in both)
        assert after == before, file


def test_its_metadata_say_of_which_model_the_metrics_are(both):
    first, refit = (read_json(folder / "Format-Serving", contract.METADATA_FILE) for folder in both)
    assert "refit" not in first
    told = refit["refit"]
    assert (told["train_requests"], told["eval_requests"]) == (400, 100)
    assert told["epochs"] == refit["training"]["epochs"] == first["training"]["best_epoch"] + 1
    assert told["note"].startswith("The pushed model was refitted: trained anew on train and eval (400 + 100 requests")
    assert refit["calibration"] == first["calibration"]
    assert refit["artifacts"]["model_run"] != first["artifacts"]["model_run"]
    assert refit["config_digest"] != first["config_digest"]


def test_the_first_training_knows_nothing_of_a_refit(planted):
    from tfx_pipeline.config import load_config

    root = Path(__file__).resolve().parents[3]
    off, on = (load_config(root / "pipeline_config.yaml", [f"training.refit={value}"]) for value in ("false", "true"))
    written = TrainingSettings.of(on, "digest").to_custom_config()
    assert written == TrainingSettings.of(off, "digest").to_custom_config()
    assert "refit" not in written["training"]
    again = RefitSettings.from_custom_config(RefitSettings.of(on, "digest").to_custom_config())
    assert again.training.refit
    assert again.to_custom_config()["training"] != written["training"]


def test_an_interrupted_refit_of_another_first_training_is_not_gone_on_with(planted, tmp_path):
    args = [planted.fn_args(tmp_path, first_run_uri=str(tmp_path / run)) for run in ("1", "1", "2")]
    one, same, another = (TrainingJob.of(each, RefitSettings)._state_dir for each in args)
    assert one == same != another
    first = [TrainingJob.of(each, TrainingSettings)._state_dir for each in args]
    assert first[0] == first[2]


def test_a_killed_refit_goes_on(tiny_data, tmp_path):
    """The second process finds two whole epochs of three and trains the third."""
    training = Training(batch_size=64, epochs=2, seed=5)
    params = {"id_dim": 4, "hidden_units": [4]}

    def refitted(epochs: int):
        return train_model(
            "mean_pooling",
            params,
            training.model_copy(update={"epochs": epochs}),
            tiny_data.training_data,
            state_dir=tmp_path / "state",
            tensorboard_dir=tmp_path / "tensorboard",
            refit=True,
        )[1]

    begun = refitted(2)
    ended = refitted(3)
    assert ended.history[:2] == begun.history
    assert len(ended.history) == 3 and ended.best_epoch == 2


@pytest.mark.parametrize("settings", [{"keep_negatives": 0.5}, {"mixed_precision": "never", "shuffle_buffer": 7}])
def test_it_takes_the_settings_of_training(tiny_data, tmp_path, settings):
    training = Training(batch_size=64, epochs=1, seed=5, **settings)
    params = {"id_dim": 4, "hidden_units": [4]}
    folders = {"state_dir": tmp_path / "state", "tensorboard_dir": tmp_path / "tensorboard"}
    _, result = train_model("mean_pooling", params, training, tiny_data.training_data, **folders, refit=True)
    assert np.isfinite(result.history[0]["loss"])
