"""What a model must beat to be worth its trouble: rankers that count in train, or compare content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import tensorflow as tf

from tfx_pipeline.config.metrics import DEFAULT_AT_K, by_request
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation.metrics import CandidateRows, values
from tfx_pipeline.evaluation.similarity import ContentSimilarity

_REQUESTS_PER_BATCH = 512
# Impressions at the click rate of train that every item is given beside its own: one click is not a rate of 100 %.
PRIOR_IMPRESSIONS = 20
# Of train, to count items in: more change the counts of rare items alone.
COUNTED_REQUESTS = 200_000
_SIMILARITY = "similarity@"
_TITLES = {
    "click_rate": "click rate of the item in train, smoothed",
    "popularity": "impressions of the item in train",
    "constant": "click rate of train, for all",
}


@dataclass(frozen=True, eq=False)
class ShownItems:
    """Candidates of raw examples, unscored.

    Attributes:
        labels: bool [n].
        items: object [n], ids as bytes.
        users: uint64 [n], a hash of the user's id, as the Evaluator takes it.
        requests: int32 [n], the number of the request.
        similarity: by modality, float32 [n]: the largest cosine to an item of the history.
    """

    labels: np.ndarray
    items: np.ndarray
    users: np.ndarray
    requests: np.ndarray
    similarity: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_shown_items(files: Sequence[str], content: ItemContentTable | None = None) -> ShownItems:
    """Reads the candidates of raw examples.

    Args:
        files: gzipped TFRecord files of one split.
        content: of the catalogue, to compare candidates with histories; None: they are not compared.

    Raises:
        DataError: there is no candidate.
    """
    kinds = {raw_features.LABEL: tf.int64, raw_features.CANDIDATE_ITEM_ID: tf.string, raw_features.USER_ID: tf.string}
    if content is not None:
        kinds[raw_features.HISTORY_ITEM_ID] = tf.string
    spec = {name: tf.io.RaggedFeature(kind, row_splits_dtype=tf.int64) for name, kind in kinds.items()}
    compared = None if content is None else ContentSimilarity(content)
    parts: list[list[np.ndarray]] = []
    read = 0
    for serialized in tf.data.TFRecordDataset(list(files), "GZIP").batch(_REQUESTS_PER_BATCH):
        parsed = tf.io.parse_example(serialized, spec)
        items, users = parsed[raw_features.CANDIDATE_ITEM_ID], parsed[raw_features.USER_ID].values.numpy()
        candidates = items.row_lengths().numpy()
        part = [
            parsed[raw_features.LABEL].values.numpy() == 1,
            items.values.numpy(),
            np.repeat(pd.util.hash_array(users), candidates),
            np.repeat(np.arange(read, read + len(users), dtype=np.int32), candidates),
        ]
        if compared is not None:
            history = parsed[raw_features.HISTORY_ITEM_ID]
            part += compared.largest(items.values.numpy(), candidates, history.values.numpy(), history.row_lengths())
        parts.append(part)
        read += len(users)
    if not any(len(part[0]) for part in parts):
        raise DataError("there are no candidates to count: the split is empty; see `split` of the configuration")
    labels, items, users, requests, *cosines = map(np.concatenate, zip(*parts, strict=True))
    modalities = () if content is None else content.modalities
    return ShownItems(labels, items, users, requests, dict(zip(modalities, cosines, strict=True)))


def baselines(train: ShownItems, judged: ShownItems) -> dict[str, CandidateRows]:
    """Candidates as rankers without a model score them.

    Args:
        train: what is counted.
        judged: what is scored, of a later split.

    Returns:
        By name: `similarity@MODALITY`, the largest cosine of the item's content to an item of the history;
        `click_rate`, the item's clicks in train by its impressions, smoothed by `PRIOR_IMPRESSIONS`; `popularity`, the
        item's share of train's impressions; `constant`, the click rate of train for every candidate.
    """
    counts = pd.DataFrame({"clicks": train.labels}).groupby(train.items)["clicks"].agg(["sum", "size"])
    found = counts.reindex(judged.items, fill_value=0)
    clicks, impressions = found["sum"].to_numpy(np.float64), found["size"].to_numpy(np.float64)
    rate = float(train.labels.mean())
    scores = {
        **{f"{_SIMILARITY}{modality}": cosines for modality, cosines in judged.similarity.items()},
        "click_rate": (clicks + PRIOR_IMPRESSIONS * rate) / (impressions + PRIOR_IMPRESSIONS),
        "popularity": impressions / len(train.labels),
        "constant": np.full(len(judged.labels), rate),
    }
    return {
        name: CandidateRows(judged.labels, column.astype(np.float32), judged.users, judged.requests)
        for name, column in scores.items()
    }


def baseline_metrics(
    rankers: Mapping[str, CandidateRows], at_k: Sequence[int] = DEFAULT_AT_K
) -> dict[str, dict[str, float]]:
    """Metrics of what `baselines` scored, by name of the ranker and of the metric; NaN where there is no answer.

    Log loss is of those alone whose scores are probabilities.
    """
    names = ("auc", "gauc", *by_request(at_k))
    return {
        ranker: values(rows, (*names, "log_loss") if is_probability(ranker) else names)
        for ranker, rows in rankers.items()
    }


def is_probability(ranker: str) -> bool:
    """Whether the scores of a ranker of `baselines` are probabilities of a click."""
    return ranker in ("constant", "click_rate")


def title(ranker: str) -> str:
    """What a ranker of `baselines` ranks by, in words."""
    if ranker.startswith(_SIMILARITY):
        return f"largest cosine of {ranker.removeprefix(_SIMILARITY)} to an item of the history"
    return _TITLES[ranker]
