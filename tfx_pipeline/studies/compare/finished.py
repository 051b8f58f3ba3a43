"""Finished trainings on disk: `OUTPUT/compare/trainings/MODEL-SEED-KEY/` with `result.json` and `rows.npz`.

`catalogue.npz` is there where the whole catalogue was asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import keras

from dmf_keras.layers import ItemColumns, SemanticIdEmbedding
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.console import console
from tfx_pipeline.evaluation.candidate_table import CandidateTable, score_rows
from tfx_pipeline.evaluation.items_had import Had
from tfx_pipeline.evaluation.whole_catalogue import CatalogueRanks, rank_catalogue
from tfx_pipeline.files.json_values import now
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import write_json
from tfx_pipeline.studies.bench.machine import machine
from tfx_pipeline.studies.compare.training_facts import Parameters, Timed, TrainingFacts
from tfx_pipeline.training.trainer import TrainingResult
from tfx_pipeline.training.trial import Trial, forget_state, release_memory, train_trial
from tfx_pipeline.training.trial_data import TrialData

_RESULT, _ROWS, _CATALOGUE = "result.json", "rows.npz", "catalogue.npz"


@dataclass(frozen=True, eq=False)
class FinishedTraining:
    """What one model, trained with one seed, came to.

    Attributes:
        facts: what `result.json` says.
        rows: the candidates of the test split with the model's probabilities.
        catalogue: where the positives of the test split stand in the whole catalogue; None: that was not asked for.
    """

    facts: TrainingFacts
    rows: CandidateTable
    catalogue: CatalogueRanks | None = None


def training_folder(root: Path, trial: Trial, data: TrialData) -> Path:
    """Where a training's state and result lie, below the comparison's folder."""
    return root / "trainings" / f"{trial.model}-{trial.seed}-{trial.key(data)}"


def is_finished(folder: Path, *, catalogue: bool = False) -> bool:
    """Whether the training has a result; `catalogue`: and the ranks of the whole catalogue."""
    return (folder / _RESULT).is_file() and (not catalogue or (folder / _CATALOGUE).is_file())


def finish(trial: Trial, data: TrialData, folder: Path, progress: str, had: Had | None = None) -> None:
    """Trains, scores the test split once, and writes the result; killed and called again, it goes on.

    Args:
        trial: what to train.
        data: what to train it on.
        folder: of this training.
        progress: which of several trainings it is, for the user's console.
        had: what the users of the test split had; None: the whole catalogue is not asked for.

    Raises:
        PipelineError: the training diverged, or the test split is empty.
    """
    trained = train_trial(trial, data, folder, progress)
    rows = score_rows(trained.model, data.training_data.transform, data.examples["test"], data.facts)
    rows.save(folder / _ROWS)
    if had is not None:
        _rank_catalogue(trained.model, data, had, progress).save(folder / _CATALOGUE)
    facts = training_facts(trial.label, trial.seed, trained.model, trained.result, trained.seconds)
    # Last: a training with a result is finished.
    write_json(folder / _RESULT, facts.to_json())
    forget_state(folder)
    del trained
    release_memory()


def training_facts(label: str, seed: int, model: RankingModel, result: TrainingResult, seconds: float) -> TrainingFacts:
    """What is kept of a training that has just ended on this machine."""
    return TrainingFacts(
        label=label,
        seed=seed,
        params=model.config.to_dict(),
        history=result.history,
        best_epoch=result.best_epoch,
        requests_per_second=result.requests_per_second,
        seconds=seconds,
        timed=Timed(now(), machine()),
        parameters=count_parameters(model),
    )


def _rank_catalogue(model: RankingModel, data: TrialData, had: Had, progress: str) -> CatalogueRanks:
    training_data, files = data.training_data, data.examples["test"]
    with console().status(f"{progress}: ranking the whole catalogue") as status:

        def watch(done: int, requests: int) -> None:
            status.update(f"{progress}: ranking the whole catalogue, {done:,} of {requests:,} requests")

        return rank_catalogue(model, training_data.transform, training_data.content.item_ids, files, had, watch)


def read_finished(folder: Path, *, catalogue: bool = False) -> FinishedTraining:
    """Reads what `finish` wrote; `catalogue`: the ranks of the whole catalogue too."""
    facts = TrainingFacts.from_json(read_json(folder / _RESULT))
    ranks = CatalogueRanks.load(folder / _CATALOGUE) if catalogue else None
    return FinishedTraining(facts, CandidateTable.load(folder / _ROWS), ranks)


def count_parameters(model: RankingModel) -> Parameters:
    """Trainable numbers: in all, in embedding tables of items, semantic ids, users and columns, and the rest."""
    kinds = keras.layers.Embedding | ItemColumns | SemanticIdEmbedding
    tables = [layer for layer in model.layers if isinstance(layer, kinds)]
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    embeddings = sum(math.prod(weight.shape) for table in tables for weight in table.trainable_weights)
    return Parameters(trainable, embeddings, trainable - embeddings)
