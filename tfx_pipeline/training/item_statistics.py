"""Counts of items in the train split, for models that read them: nothing of eval or test enters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_transform as tft

from dmf_keras.models.inputs import IMPRESSIONS, POSITIVES
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.training.model_schema import train_impressions
from tfx_pipeline.transform import transformed_features

_REQUESTS_PER_BATCH = 1024


def item_statistics(
    names: Iterable[str], train_files: Sequence[str], tft_output: tft.TFTransformOutput, content: ItemContentTable
) -> dict[str, np.ndarray]:
    """Counts by content row.

    Args:
        names: of `dmf_keras.models.inputs.ITEM_STATISTICS`.
        train_files: transformed examples of the train split.
        tft_output: the transform graph, which has the impressions.
        content: of the catalogue.

    Returns:
        By name int64 [items + 1]; row 0, an item outside the catalogue, is 0.
    """
    counts = {
        IMPRESSIONS: lambda: train_impressions(tft_output),
        POSITIVES: lambda: _positives(train_files, tft_output),
    }
    return {name: _by_row(counts[name](), content) for name in names}


def _by_row(counts: dict[str, int], content: ItemContentTable) -> np.ndarray:
    return np.array([0, *(counts.get(item, 0) for item in content.item_ids)], np.int64)


def _positives(files: Sequence[str], tft_output: tft.TFTransformOutput) -> dict[str, int]:
    """Candidates of each item with a positive main label. Transform counts impressions alone."""
    spec = tft_output.transformed_feature_spec()
    read = {name: spec[name] for name in (transformed_features.CANDIDATE_ITEM, transformed_features.LABEL)}
    items = []
    for serialized in tf.data.TFRecordDataset(list(files), "GZIP").batch(_REQUESTS_PER_BATCH):
        parsed = tf.io.parse_example(serialized, read)
        positive = parsed[transformed_features.LABEL].values > 0
        items.append(tf.boolean_mask(parsed[transformed_features.CANDIDATE_ITEM].values, positive).numpy())
    counts = pd.Series(np.concatenate(items), dtype=object).value_counts()
    return {item.decode("utf-8"): int(count) for item, count in counts.items()}
