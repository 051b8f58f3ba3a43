"""The approximate index of an exported model, measured by users of the eval split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.approximate_index import IndexRecord, MissingLibrary, usearch_index
from serving.export.approximate_index import write_index
from serving.export.retrieval import RetrievalStage
from tfx_pipeline.config.stages import Approximate
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.evaluation.catalogue_scoring import user_vectors
from tfx_pipeline.evaluation.retrieval.tower_retriever import index_options
from tfx_pipeline.transform.request_transform import RequestTransform

# Requests of eval whose users recall is measured by, and how many are encoded at a time.
_USERS, _BATCH = 1000, 100


def check_library(approximate: Approximate | None) -> None:
    """Looks whether what makes an index is installed.

    Raises:
        ConfigError: an index is wanted, and it is not.
    """
    if approximate is None:
        return
    try:
        usearch_index()
    except MissingLibrary as error:
        raise ConfigError(f"stages.retrieval.approximate: {error}, or leave the section out") from None


def write_approximate(
    directory: Path,
    stage: RetrievalStage,
    transform: RequestTransform,
    eval_files: Sequence[str],
    approximate: Approximate,
) -> IndexRecord:
    """Makes the index of a stage's catalogue and writes it beside the exported model.

    Args:
        directory: of the exported model.
        stage: whose item vectors the index has.
        transform: requests to inputs of the stage's tower.
        eval_files: raw examples, by whose users recall is measured.
        approximate: of the configuration.
    """
    vectors = user_vectors(stage.tower, transform)
    requests = tf.data.TFRecordDataset(list(eval_files), compression_type="GZIP").take(_USERS).batch(_BATCH)
    users = np.concatenate([vectors(serialized).numpy() for serialized in requests])
    return write_index(
        directory,
        [item.decode() for item in stage.index.item_ids.numpy()],
        np.ascontiguousarray(stage.index.columns.numpy().T),
        users,
        options=index_options(approximate),
        at=approximate.at,
        ranked_candidates=stage.candidates,
    )
