"""`run_fn` of the Trainer component: transformed examples in, exported and documented model out."""

from __future__ import annotations

from typing import Any

from tfx_pipeline.training.calibration import calibrate
from tfx_pipeline.training.settings import TrainingSettings
from tfx_pipeline.training.training_job import TrainingJob


def run_fn(fn_args: Any) -> None:
    """Trains the configured model and exports it; the entry that TFX calls by its dotted path.

    Args:
        fn_args: TFX's `FnArgs`; its `custom_config` has the `TrainingSettings` and the folders of the further inputs.
            `hyperparameters`, when the pipeline has a Tuner, replace those of the configuration.
    """
    job = TrainingJob.of(fn_args, TrainingSettings)
    settings = job.settings
    model, result = job.train(settings.training)
    calibrated = calibrate(model, job.data.eval_batches(settings.training.batch_size), settings.calibration)
    job.write(model, result, calibrated)
