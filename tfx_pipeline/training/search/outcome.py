"""What one trial of a search came to: trained, judged on the eval split, and kept on disk."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

import tensorflow as tf

from serving.messages import first_line
from tfx_pipeline.config.metrics import COMPARED
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.candidate_table import score_rows
from tfx_pipeline.files.reading import exists, read_json
from tfx_pipeline.files.writing import write_json
from tfx_pipeline.training.trial import Trial, forget_state, release_memory, train_trial
from tfx_pipeline.training.trial_data import TrialData

_FILE = "outcome.json"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Result of a trial.

    Attributes:
        metrics: those of `measured` on the candidates of the eval split, with the weights of the best epoch; none when
            the trial failed; NaN where the split has no answer.
        epochs: that were trained.
        best_epoch: 0-based.
        seconds: training and scoring, when it ran.
        failure: why there are no metrics, in a sentence; empty when there are.
        recalled: whether an earlier search trained it.
    """

    metrics: dict[str, float]
    epochs: int
    best_epoch: int
    seconds: float
    failure: str = ""
    recalled: bool = False

    @property
    def completed(self) -> bool:
        """Whether there are metrics."""
        return not self.failure

    @classmethod
    def failed(cls, failure: str, seconds: float = 0.0) -> Outcome:
        """Of a trial without a trained model."""
        return cls({}, 0, 0, seconds, failure)

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """What an earlier search left in the trial's folder, if it came to its end there."""
        path = folder / _FILE
        if not exists(path):
            return None
        values = read_json(path)
        metrics = {name: math.nan if value is None else value for name, value in values["metrics"].items()}
        return cls(**values | {"metrics": metrics, "recalled": True})

    def write(self, folder: Path) -> None:
        """Leaves it in the trial's folder, whole or not at all."""
        write_json(folder / _FILE, dataclasses.asdict(self))


def measured(objective: str) -> tuple[str, ...]:
    """Metrics of a trial: the objective, and what else trials are judged by."""
    return tuple(dict.fromkeys((*COMPARED, "mrr", "request_auc", objective)))


def measure(trial: Trial, data: TrialData, folder: Path, progress: str, objective: str = COMPARED[0]) -> Outcome:
    """Trains a trial and scores the eval split, unless that was done before; the test split is not touched.

    A trial that diverges, or that does not fit into memory, fails and is kept as well. One that was not measured by the
    objective, of another k than before, is trained again.

    Args:
        trial: what to train.
        data: what to train it on.
        folder: of all trials; each has a folder in it, named by its key.
        progress: which trial it is, for the user's console.
        objective: what the search is for.
    """
    own = folder / trial.key(data)
    recalled = Outcome.read(own)
    if recalled is not None and (objective in recalled.metrics or not recalled.completed):
        return recalled
    own.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    try:
        outcome = _train_and_score(trial, data, own, progress, started, objective)
    except (ModelError, tf.errors.ResourceExhaustedError) as error:
        outcome = Outcome.failed(first_line(error), time.perf_counter() - started)
    outcome.write(own)
    forget_state(own)
    release_memory()
    return outcome


def _train_and_score(
    trial: Trial, data: TrialData, folder: Path, progress: str, started: float, objective: str
) -> Outcome:
    trained = train_trial(trial, data, folder, progress)
    table = score_rows(trained.model, data.training_data.transform, data.examples["eval"], data.facts)
    return Outcome(
        metrics=table.metrics(measured(objective)),
        epochs=len(trained.result.history),
        best_epoch=trained.result.best_epoch,
        seconds=time.perf_counter() - started,
    )
