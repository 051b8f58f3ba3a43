"""Finished trainings on disk: `OUTPUT/compare/trainings/MODEL-SEED-KEY/` with `result.json` and `rows.npz`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import keras

from dmf_keras.layers import ItemColumns
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.evaluation.candidate_table import CandidateTable, score_rows
from tfx_pipeline.files.json_values import now
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import write_json
from tfx_pipeline.studies.bench.machine import machine
from tfx_pipeline.studies.compare.training_facts import Parameters, Timed, TrainingFacts
from tfx_pipeline.training.trial import Trial, forget_state, release_memory, train_trial
from tfx_pipeline.training.trial_data import TrialData

_RESULT, _ROWS = "result.json", "rows.npz"


@dataclass(frozen=True, eq=False)
class FinishedTraining:
    """What one model, trained with one seed, came to.

    Attributes:
        facts: what `result.json` says.
        rows: the candidates of the test split with the model's probabilities.
    """

    facts: TrainingFacts
    rows: CandidateTable


def training_folder(root: Path, trial: Trial, data: TrialData) -> Path:
    """Where a training's state and result lie, below the comparison's folder."""
    return root / "trainings" / f"{trial.model}-{trial.seed}-{trial.key(data)}"


def is_finished(folder: Path) -> bool:
    """Whether the training has a result."""
    return (folder / _RESULT).is_file()


def finish(trial: Trial, data: TrialData, folder: Path, progress: str) -> None:
    """Trains, scores the test split once, and writes the result; killed and called again, it goes on.

    Raises:
        PipelineError: the training diverged, or the test split is empty.
    """
    trained = train_trial(trial, data, folder, progress)
    rows = score_rows(trained.model, data.training_data.transform, data.examples["test"], data.facts)
    rows.save(folder / _ROWS)
    result = trained.result
    facts = TrainingFacts(
        label=trial.label,
        seed=trial.seed,
        params=trained.model.config.to_dict(),
        history=result.history,
        best_epoch=result.best_epoch,
        requests_per_second=result.requests_per_second,
        seconds=trained.seconds,
        timed=Timed(now(), machine()),
        parameters=count_parameters(trained.model),
    )
    # Last: a training with a result is finished.
    write_json(folder / _RESULT, facts.to_json())
    forget_state(folder)
    del trained
    release_memory()


def read_finished(folder: Path) -> FinishedTraining:
    """Reads what `finish` wrote."""
    facts = TrainingFacts.from_json(read_json(folder / _RESULT))
    return FinishedTraining(facts, CandidateTable.load(folder / _ROWS))


def count_parameters(model: RankingModel) -> Parameters:
    """Trainable numbers: in all, in embedding tables of items, users and columns, and the rest."""
    tables = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding | ItemColumns)]
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    embeddings = sum(math.prod(weight.shape) for table in tables for weight in table.trainable_weights)
    return Parameters(trainable, embeddings, trainable - embeddings)
