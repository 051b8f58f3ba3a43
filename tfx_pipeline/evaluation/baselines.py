"""What a model must beat to be worth its trouble: rankers that know nothing but counts of the train split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation.metrics import CandidateRows

_REQUESTS_PER_BATCH = 4096
# Impressions at the click rate of train that every item is given beside its own: one click is not a rate of 100 %.
PRIOR_IMPRESSIONS = 20


@dataclass(frozen=True, eq=False)
class ShownItems:
    """Candidates of raw examples, unscored.

    Attributes:
        labels: bool [n].
        items: object [n], ids as bytes.
        users: uint64 [n], a hash of the user's id, as the Evaluator takes it.
    """

    labels: np.ndarray
    items: np.ndarray
    users: np.ndarray


@dataclass(frozen=True, eq=False)
class Baselines:
    """Candidates as three rankers without a model score them.

    Attributes:
        constant: every candidate has the click rate of train.
        popularity: the item's share of train's impressions, a score and no probability of a click.
        click_rate: the item's clicks in train by its impressions, smoothed by `PRIOR_IMPRESSIONS`.
    """

    constant: CandidateRows
    popularity: CandidateRows
    click_rate: CandidateRows


def read_shown_items(files: Sequence[str]) -> ShownItems:
    """Reads the candidates of raw examples.

    Args:
        files: gzipped TFRecord files of one split.

    Raises:
        DataError: there is no candidate.
    """
    names = (raw_features.LABEL, raw_features.CANDIDATE_ITEM_ID, raw_features.USER_ID)
    kinds = (tf.int64, tf.string, tf.string)
    spec = {name: tf.io.RaggedFeature(kind, row_splits_dtype=tf.int64) for name, kind in zip(names, kinds, strict=True)}
    parts = []
    for serialized in tf.data.TFRecordDataset(list(files), "GZIP").batch(_REQUESTS_PER_BATCH):
        labels, items, users = (tf.io.parse_example(serialized, spec)[name] for name in names)
        hashes = pd.util.hash_array(users.values.numpy())
        parts.append((labels.values.numpy() == 1, items.values.numpy(), np.repeat(hashes, items.row_lengths().numpy())))
    if not any(len(labels) for labels, _, _ in parts):
        raise DataError("there are no candidates to count: the split is empty; see `split` of the configuration")
    return ShownItems(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def baselines(train: ShownItems, judged: ShownItems) -> Baselines:
    """Scores candidates by counts alone.

    Args:
        train: what is counted.
        judged: what is scored, of a later split.
    """
    counts = pd.DataFrame({"clicks": train.labels}).groupby(train.items)["clicks"].agg(["sum", "size"])
    found = counts.reindex(judged.items, fill_value=0)
    clicks, impressions = found["sum"].to_numpy(np.float64), found["size"].to_numpy(np.float64)
    rate = float(train.labels.mean())
    smoothed = (clicks + PRIOR_IMPRESSIONS * rate) / (impressions + PRIOR_IMPRESSIONS)

    def rows(scores: np.ndarray) -> CandidateRows:
        return CandidateRows(judged.labels, scores.astype(np.float32), judged.users)

    return Baselines(
        constant=rows(np.full(len(judged.labels), rate)),
        popularity=rows(impressions / len(train.labels)),
        click_rate=rows(smoothed),
    )
