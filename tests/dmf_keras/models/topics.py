"""Items of a few topics, which their content tells: what worlds with a planted cause have in common."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from dmf_keras.models import ModalitySpec, RankingSchema
from tests.dmf_keras.models.batches import small_model

TOPICS, ITEMS = 4, 40
# Inputs and labels, as `fit` takes them.
World = tuple[dict[str, np.ndarray], np.ndarray]


def auc_of_trained(name: str, train: World, test: World, epochs: int, **schema: Any) -> float:
    """AUC of a model on requests that it has not seen; `schema`: what its `RankingSchema` has beside items and text."""
    full = RankingSchema(ITEMS + 1, ITEMS + 1, {"text": ModalitySpec(6)}, **schema)
    model = small_model({"id_dim": 16, "hidden_units": [32]}, schema=full, name=name)
    topics = np.eye(TOPICS)[np.arange(ITEMS + 1) % TOPICS]
    rng = np.random.default_rng(0)
    for layer in model.content.values():
        layer.set_rows(np.concatenate([topics, np.zeros((ITEMS + 1, 2))], 1) + 0.1 * rng.normal(size=(ITEMS + 1, 6)))
    keras.utils.set_random_seed(1)
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    model.fit(*train, epochs=epochs, batch_size=50, verbose=0)
    inputs, labels = test
    return float(roc_auc_score(labels.ravel(), keras.ops.convert_to_numpy(model(inputs)).ravel()))
