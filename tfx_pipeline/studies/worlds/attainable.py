"""The best that any ranker could reach on synthetic logs, and what each part of the truth is worth there."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dmf_keras.metrics import auc_by_group
from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.errors import DataError
from tfx_pipeline.studies.worlds.synthetic import TRUTH, TRUTH_PARTS


@dataclass(frozen=True)
class AttainableSplit:
    """What the true probabilities score against the labels that were drawn from them."""

    impressions: int
    auc: float
    gauc: float
    """mean of the users' AUC weighted by impressions, over users with both label classes"""

    def gain_share(self, auc: float) -> float:
        """Share of the attainable gain over a coin's 0.5 that a model's AUC has reached; NaN where there is none."""
        return (auc - 0.5) / (self.auc - 0.5) if self.auc > 0.5 else math.nan


@dataclass(frozen=True)
class PartWorth:
    """What one part of the truth is worth in a split."""

    alone: float
    """AUC of a ranker that knew this part of the logit and nothing else; 0.5 for a part that is zero"""
    without: float
    """AUC of a ranker that knew all of the logit but this part"""


def attainable(directory: str | Path, eval_from: dt.datetime, test_from: dt.datetime) -> dict[str, AttainableSplit]:
    """AUC and GAUC of the true click probabilities, by split.

    Args:
        directory: written by `write_demo_logs`.
        eval_from: first instant of the eval split, UTC.
        test_from: first instant of the test split, UTC.

    Returns:
        "train", "eval" and "test".

    Raises:
        DataError: no truth in the directory, or a split without impressions or with one label class only.
    """
    truth = _read(Path(directory) / TRUTH)
    return {name: _score(truth.iloc[rows]) for name, rows in _splits(truth, eval_from, test_from)}


def attainable_by_part(
    directory: str | Path, eval_from: dt.datetime, test_from: dt.datetime
) -> dict[str, dict[str, PartWorth]]:
    """What each part of the logit is worth, by split and part.

    A ranker that knew one part alone would order candidates by it, and one that knew all but one by the logit without
    it: exactly so if parts were independent, nearly so as they are.

    Args, Raises: as `attainable`.
    """
    truth, added = _read(Path(directory) / TRUTH), _read(Path(directory) / TRUTH_PARTS)
    worth = {}
    for name, rows in _splits(truth, eval_from, test_from):
        labels = truth["clicked"].to_numpy(bool)[rows]
        worth[name] = {
            part: PartWorth(
                alone=_auc(labels, added[part].to_numpy()[rows]),
                without=_auc(labels, added.drop(columns=part).sum(axis=1).to_numpy()[rows]),
            )
            for part in added.columns
        }
    return worth


def _read(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise DataError(f"{file} is absent: what is attainable is known of synthetic logs only")
    return pd.read_parquet(file)


def _splits(truth: pd.DataFrame, eval_from: dt.datetime, test_from: dt.datetime) -> Iterator[tuple[str, np.ndarray]]:
    """Rows of each split."""
    borders = [
        int(moment.replace(tzinfo=moment.tzinfo or dt.UTC).timestamp() * 1e6) for moment in (eval_from, test_from)
    ]
    split = np.searchsorted(borders, truth["time_us"], side="right")
    for number, name in enumerate(SPLITS):
        rows = np.flatnonzero(split == number)
        clicks = int(truth["clicked"].to_numpy()[rows].sum())
        if clicks in (0, len(rows)):
            raise DataError(f"the {name} split has {len(rows)} impressions and {clicks} clicks: no AUC there")
        yield name, rows


def _score(rows: pd.DataFrame) -> AttainableSplit:
    labels, chances = rows["clicked"].to_numpy(bool), rows["probability"].to_numpy()
    users = auc_by_group(pd.factorize(rows["user_id"])[0], labels, chances)
    both = users.has_both_classes
    gauc = np.average(users.auc[both], weights=users.size[both])
    return AttainableSplit(len(rows), _auc(labels, chances), float(gauc))


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    return float(auc_by_group(np.zeros(len(labels), np.int64), labels, scores).auc[0])
