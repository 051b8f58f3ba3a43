"""One training of one model: what identifies it, and how it is done."""

from __future__ import annotations

import gc
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops

from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.models.registry import model_config, uses_content
from tfx_pipeline.config.label import AGES, Label
from tfx_pipeline.config.schema import Training
from tfx_pipeline.config.values import Params
from tfx_pipeline.errors import ModelError
from tfx_pipeline.training.model_code import model_code_digest
from tfx_pipeline.training.model_training import train_model
from tfx_pipeline.training.trainer import TrainingResult, forget, precision
from tfx_pipeline.training.trial_data import TrialData

_STATE = "state"


@dataclass(frozen=True)
class Trial:
    """A model of the registry, its hyper-parameters, and how it is to be trained.

    Attributes:
        model: a registered name.
        params: hyper-parameters that differ from the model's defaults.
        seed: of initial weights, dropout and the order of examples; `training.seed` is not looked at.
        training: batches, epochs, patience, learning rate.
        modalities: those that the model is given; none named: all of the configuration.
        without: what else it is not given, as in `Label`.
    """

    model: str
    params: Params
    seed: int
    training: Training
    modalities: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """As a configuration writes it: `dmf`, or `dmf@text` when it is given that modality alone."""
        return str(Label(self.model, self.modalities, self.without))

    def key(self, data: TrialData) -> str:
        """16 hex digits: the same for the same training on the same examples by the same code, and for no other.

        The modalities of a model that uses no content do not count. Code is that of the model, and the versions of what
        computes; the precision is that of this machine.
        """
        values = {
            "data": data.digest,
            "model": self.model,
            "params": model_config(self.model, self.params).to_dict(),
            "modalities": sorted(self.modalities) if uses_content(self.model) else [],
            # A trial is never refitted.
            "training": self.training.model_copy(update={"seed": self.seed, "refit": False}).model_dump(mode="json"),
            "precision": precision(self.training),
            "optimizer": "fused Adam",
            "model_code": model_code_digest(self.model),
            **({"without": self.without} if self.without else {}),
            **_objectives(data),
            **self._age_buckets(data),
            "versions": [library.__version__ for library in (tf, keras, np)],
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def _age_buckets(self, data: TrialData) -> dict[str, Any]:
        buckets = data.training_data.age_buckets
        return {} if buckets is None or AGES in self.without else {"age_buckets": buckets}


def _objectives(data: TrialData) -> dict[str, Any]:
    objectives = data.training_data.objectives
    return {"objectives": {name: each.model_dump() for name, each in objectives.items()}} if objectives else {}


@dataclass(frozen=True, eq=False)
class TrainedTrial:
    """What a trial came to.

    Attributes:
        model: with the weights of its best epoch on the eval split.
        result: metrics by epoch, best epoch, requests per second.
        seconds: that training took in this process, evaluation after each epoch included.
    """

    model: RankingModel
    result: TrainingResult
    seconds: float


def train_trial(trial: Trial, data: TrialData, folder: Path, progress: str) -> TrainedTrial:
    """Trains a trial; called again after a kill, with the same folder, it goes on from its last whole epoch.

    Early stopping looks at the eval split; the test split is not touched.

    Args:
        trial: what to train.
        data: what to train it on.
        folder: of this trial alone; keeps the state of an interrupted training, and TensorBoard's files.
        progress: which of several trainings it is, for the user's console.

    Raises:
        ModelError: the training diverged, or the model refuses the data.
    """
    started = time.perf_counter()
    try:
        model, result = train_model(
            trial.model,
            trial.params,
            trial.training.model_copy(update={"seed": trial.seed}),
            data.training_data,
            state_dir=folder / _STATE,
            tensorboard_dir=folder / "tensorboard",
            modalities=trial.modalities,
            without=trial.without,
            progress=progress,
        )
    except ModelError as error:
        raise ModelError(f"{trial.label}, seed {trial.seed}: {error}") from error
    return TrainedTrial(model, result, time.perf_counter() - started)


def forget_state(folder: Path) -> None:
    """Removes the state of a training whose result is written."""
    forget(folder / _STATE)


def release_memory() -> None:
    """Frees what Keras and TensorFlow keep of models that nothing refers to any more.

    A model that goes on being trained must have been trained before, so that its gradients are built.
    """
    # TensorFlow keeps the gradient of every `tf.custom_gradient` that was ever traced, under a name of its own. Each
    # holds the graph it was traced in, and so the weights of model and optimizer.
    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]
    keras.utils.clear_session()
    gc.collect()
