"""`refit_fn` of the step RefitTrainer: the first model's training once more, on train and eval."""

from __future__ import annotations

from typing import Any

import keras

from dmf_keras.models.ranking_model import RankingModel
from serving import contract
from serving.export.metadata import read_json as read_asset
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import Address, join, local
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.training.calibration import CalibrationResult
from tfx_pipeline.training.input_uris import FIRST_RUN, uri_of
from tfx_pipeline.training.metadata import Refit
from tfx_pipeline.training.settings import RefitSettings
from tfx_pipeline.training.trainer import TrainingResult
from tfx_pipeline.training.training_job import TrainingJob


def refit_fn(fn_args: Any) -> None:
    """Trains the configured model anew on train and eval, and exports it; the entry that TFX calls by its dotted path.

    It has the seed and the settings of the first training, and as many epochs as that was best after: an example is
    seen as often. Tables, vocabularies and statistics stay those of the train split, and so does the calibration: it
    was fitted on eval when eval had not been trained on. The test split is no input of the step.

    Args:
        fn_args: as of `run_fn`; `base_model` is the exported model of the first training, and `custom_config` has the
            `RefitSettings` and the folder of the first training's run.
    """
    job = TrainingJob.of(fn_args, RefitSettings)
    first_run = uri_of(fn_args.custom_config, FIRST_RUN)
    first = TrainingResult.from_json(read_json(join(first_run, artifact_files.TRAINING_RESULT)))
    epochs = first.best_epoch + 1
    model, result = job.train(job.settings.training.model_copy(update={"epochs": epochs}), refit=True, progress="refit")
    calibrated = None
    if job.settings.calibration != "none":
        metadata = read_asset(local(fn_args.base_model), contract.METADATA_FILE)
        assert metadata is not None, "a training writes it beside its model"
        _take_calibration(model, join(first_run, artifact_files.KERAS_MODEL))
        calibrated = CalibrationResult.from_json(metadata["calibration"])
    job.write(model, result, calibrated, Refit.of(epochs, first))


def _take_calibration(model: RankingModel, keras_model: Address) -> None:
    """Gives the model the calibration of the saved one."""
    calibration = keras.models.load_model(keras_model).calibration
    model.calibrate(*(keras.ops.convert_to_numpy(points) for points in (calibration.x, calibration.y)))
