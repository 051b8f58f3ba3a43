"""Candidate rows of a split: scored from raw examples, as the exported model's `serving_default` scores them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.config.metrics import of_objective
from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation import slices
from tfx_pipeline.evaluation.item_facts import ItemFacts
from tfx_pipeline.evaluation.joint import joint_probabilities
from tfx_pipeline.evaluation.known_users import KnownUsers
from tfx_pipeline.evaluation.metrics import CandidateRows, values
from tfx_pipeline.files.writing import writing
from tfx_pipeline.transform.dataset import untuned
from tfx_pipeline.transform.request_transform import RequestTransform

_REQUESTS_PER_BATCH = 512
_FURTHER = "further"


class ObjectiveColumns(NamedTuple):
    """Labels bool [n] and probabilities float32 [n] of an objective beside the main one, joint of a conditional one."""

    labels: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """Every candidate of a split in the order of its files, as columns [n].

    Attributes:
        labels: bool.
        probabilities: float32, of one model.
        users: uint64, a hash of the user's id, as the Evaluator takes it.
        requests: int32, the number of the request, from 0.
        train_impressions: int64, of the item in the train split.
        history_lengths: int64, items in the request's history.
        has_content: bool, whether the item has at least one modality.
        further: of the objectives beside the main one, by name.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    users: np.ndarray
    requests: np.ndarray
    train_impressions: np.ndarray
    history_lengths: np.ndarray
    has_content: np.ndarray
    further: Mapping[str, ObjectiveColumns] = field(default_factory=dict)

    def metrics(self, names: Iterable[str], mask: np.ndarray | slice = slice(None)) -> dict[str, float]:
        """Metrics by name; NaN where there is no answer.

        Args:
            names: `OBJECTIVE/NAME` of an objective beside the main one.
            mask: bool [n]; absent: all rows.
        """
        by_objective: dict[str, list[str]] = {}
        for name in names:
            by_objective.setdefault(of_objective(name)[0], []).append(name)
        found: dict[str, float] = {}
        for objective, own in by_objective.items():
            found |= values(self.rows(mask, objective), own)
        return {name: found[name] for name in names}

    def column(self, objective: str = "") -> ObjectiveColumns:
        """Labels and probabilities of an objective; "": of the main one."""
        return self.further[objective] if objective else ObjectiveColumns(self.labels, self.probabilities)

    def rows(self, mask: np.ndarray | slice = slice(None), objective: str = "") -> CandidateRows:
        """What the metrics of `tfx_pipeline.evaluation.metrics` are computed from.

        Args:
            mask: bool [n]; absent: all rows.
            objective: beside the main one; "": that.
        """
        labels, probabilities = self.column(objective)
        return CandidateRows(labels[mask], probabilities[mask], self.users[mask], self.requests[mask])

    def slices(self, evaluation: Evaluation, known_users: KnownUsers | None) -> dict[str, pd.Categorical]:
        """The bucket of each row in every slice of the Evaluator.

        Args:
            evaluation: gives the borders.
            known_users: of the train split; None: no slice by them.
        """
        by_user = {} if known_users is None else {slices.USER: slices.user(known_users.look_up(self.users))}
        return {
            slices.ITEM_FREQUENCY: slices.item_frequency(self.train_impressions, evaluation),
            slices.HISTORY_LENGTH: slices.history_length(self.history_lengths, evaluation),
            slices.CONTENT: slices.content(self.has_content),
            **by_user,
        }

    def save(self, file: Path) -> None:
        """Writes an `.npz` file, by atomic rename."""
        with writing(file) as incoming:
            columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != _FURTHER}
            for name, (labels, probabilities) in self.further.items():
                columns |= {f"{name}/labels": labels, f"{name}/probabilities": probabilities}
            np.savez_compressed(incoming, **columns)

    @classmethod
    def load(cls, file: Path) -> CandidateTable:
        """Reads what `save` wrote."""
        with np.load(file) as arrays:
            names = [name.removesuffix("/labels") for name in arrays.files if name.endswith("/labels")]
            further = {
                name: ObjectiveColumns(arrays[f"{name}/labels"], arrays[f"{name}/probabilities"]) for name in names
            }
            columns = {field.name: arrays[field.name] for field in fields(cls) if field.name != _FURTHER}
            return cls(**columns, further=further)


# All but the further objectives.
_COLUMNS = len(fields(CandidateTable)) - 1


def score_rows(
    model: RankingModel, transform: RequestTransform, files: Sequence[str], facts: ItemFacts
) -> CandidateTable:
    """Scores all candidates of raw examples.

    Args:
        model: trained.
        transform: requests to model inputs.
        files: gzipped TFRecord files of raw examples, of one split.
        facts: train impressions and content of the items.

    Returns:
        A row per candidate.

    Raises:
        DataError: no candidates, or a request whose labels are not as many as its candidates.
    """

    # Nothing in it is Python that AutoGraph would have to turn into operations, and looking for it takes seconds.
    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def score(serialized: tf.Tensor) -> tf.Tensor:
        inputs = transform.examples(serialized)
        scored = model.probabilities(model.score(model.encode_user(inputs), inputs))
        if not given:
            return scored[..., tf.newaxis]
        own = {name: scored[..., place] for place, name in enumerate(given)}
        return tf.stack(list(joint_probabilities(own, given).values()), axis=-1)

    given = {objective.name: objective.given for objective in model.schema.objectives}
    further = {raw_features.LABEL_PREFIX + name: name for name in list(given)[1:]}
    ragged = {
        name: tf.io.RaggedFeature(kind, row_splits_dtype=tf.int64)
        for name, kind in (
            (raw_features.CANDIDATE_ITEM_ID, tf.string),
            (raw_features.LABEL, tf.int64),
            (raw_features.HISTORY_ITEM_ID, tf.string),
            (raw_features.USER_ID, tf.string),
            *((label, tf.int64) for label in further),
        )
    }
    parts: list[list[np.ndarray]] = []
    read = 0
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_REQUESTS_PER_BATCH)
    for serialized in untuned(records.prefetch(2)):
        parsed = tf.io.parse_example(serialized, ragged)
        candidates = parsed[raw_features.CANDIDATE_ITEM_ID].row_lengths().numpy()
        for label in (raw_features.LABEL, *further):
            _check_labels(candidates, parsed[label].row_lengths().numpy())
        scores = score(serialized).numpy()
        # Positions beyond a request's own candidates are padding and may hold anything.
        own = scores[np.arange(scores.shape[1]) < candidates[:, np.newaxis]]
        impressions, has_content = facts.look_up(parsed[raw_features.CANDIDATE_ITEM_ID].values.numpy())
        users = pd.util.hash_array(parsed[raw_features.USER_ID].values.numpy())
        parts.append(
            [
                parsed[raw_features.LABEL].values.numpy().astype(bool),
                own[:, 0],
                np.repeat(users, candidates),
                np.repeat(np.arange(read, read + len(users), dtype=np.int32), candidates),
                impressions,
                np.repeat(parsed[raw_features.HISTORY_ITEM_ID].row_lengths().numpy(), candidates),
                has_content,
            ]
        )
        for place, label in enumerate(further, start=1):
            parts[-1] += [parsed[label].values.numpy().astype(bool), own[:, place]]
        read += len(users)
    if not any(len(part[0]) for part in parts):
        raise DataError("there are no candidates to score: the split is empty; see `split` of the configuration")
    columns: list[Any] = [np.concatenate(column) for column in zip(*parts, strict=True)]
    rest = iter(columns[_COLUMNS:])
    by_name = {name: ObjectiveColumns(next(rest), next(rest)) for name in further.values()}
    return dataclasses.replace(CandidateTable(*columns[:_COLUMNS]), further=by_name)


def _check_labels(candidates: np.ndarray, labels: np.ndarray) -> None:
    wrong = np.flatnonzero(candidates != labels)
    if len(wrong):
        raise DataError(
            f"a request has {candidates[wrong[0]]} candidates but {labels[wrong[0]]} labels; expected one label per"
            " candidate: generate the examples again"
        )
