"""A model as training saved it."""

from __future__ import annotations

import os
from importlib import import_module

import keras
import tensorflow as tf

from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.models.registry import model_class
from serving.messages import first_line
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files.addresses import Address

_LONGEST_REASON = 300


def read_model(address: Address, name: str) -> RankingModel:
    """A saved model.

    Args:
        address: of the `.keras` file.
        name: registered, of the model.

    Raises:
        ModelError: it cannot be loaded.
    """
    try:
        # Keras loads only classes that are imported.
        import_module(model_class(name).partition(":")[0])
        model: RankingModel = keras.models.load_model(os.fspath(address))
    except (OSError, ValueError, KeyError, TypeError, ImportError, tf.errors.OpError) as error:
        raise ModelError(f"{address} cannot be loaded: {first_line(error)[:_LONGEST_REASON]}") from None
    return model
