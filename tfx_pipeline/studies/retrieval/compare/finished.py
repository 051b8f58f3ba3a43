"""Finished trainings of towers: `OUTPUT/retrieval/trainings/LABEL-SEED-KEY/` with `result.json` and the model.

Beside these lie the ranks of positives, a file for each way in which the lists were made: another split, other borders
of the head or another ranker train no towers again. Rankers lie in `OUTPUT/retrieval/rankers/`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import keras
import numpy as np
import tensorflow as tf

from dmf_keras.models.registry import model_config
from tfx_pipeline.config.label import AGES, Label
from tfx_pipeline.config.schema import Training
from tfx_pipeline.config.stages import Retrieval
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.items_had import Had
from tfx_pipeline.evaluation.retrieval.cascade import Cascade, Ranker
from tfx_pipeline.evaluation.retrieval.evaluate import Evaluated, Watch, evaluate_retrievers
from tfx_pipeline.evaluation.retrieval.ranks import ListRanks
from tfx_pipeline.evaluation.retrieval.retriever import Retriever
from tfx_pipeline.evaluation.retrieval.tower_retriever import TowerRetriever, Towers
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import write_json, writing
from tfx_pipeline.studies.compare.finished import training_facts
from tfx_pipeline.studies.compare.training_facts import TrainingFacts
from tfx_pipeline.studies.retrieval.contenders import TWO_TOWERS, cascades_behind
from tfx_pipeline.studies.retrieval.saved_model import read_model
from tfx_pipeline.training.model_code import model_code_digest
from tfx_pipeline.training.retrieval.training import train_two_towers
from tfx_pipeline.training.trainer import forget
from tfx_pipeline.training.trial import Trial, forget_state, release_memory, train_trial
from tfx_pipeline.training.trial_data import TrialData

_RESULT, _TOWERS, _RANKER, _STATE = "result.json", "two_towers.keras", "ranker.keras", "state"


@dataclass(frozen=True)
class TowerTraining:
    """One training of two towers.

    Attributes:
        label: the modalities that they are given, and what else they go without.
        settings: of the stage.
        training: gives seed and shuffling.
    """

    label: Label
    settings: Retrieval
    training: Training

    def key(self, data: TrialData) -> str:
        """16 hex digits: the same for the same training on the same examples by the same code, and for no other."""
        buckets = None if AGES in self.label.without else data.training_data.age_buckets
        values = {
            "data": data.digest,
            "settings": self.settings.model_dump(mode="json", exclude={"params", "approximate"}),
            "params": model_config(self.label.model, self.settings.params).to_dict(),
            "modalities": self.label.modalities,
            "without": self.label.without,
            "age_buckets": buckets,
            "seed": self.training.seed,
            "shuffle_buffer": self.training.shuffle_buffer,
            "model_code": model_code_digest(self.label.model),
            "versions": [library.__version__ for library in (tf, keras, np)],
        }
        return _digest(json.dumps(values, sort_keys=True).encode())

    def folder(self, root: Path, data: TrialData) -> Path:
        """Where its state and result lie, below the comparison's folder."""
        return root / "trainings" / f"{self.label}-{self.training.seed}-{self.key(data)}"


@dataclass(frozen=True, eq=False)
class Question:
    """What retrievers are asked, and how their lists are counted.

    Attributes:
        data: its raw examples are the requests.
        split: whose requests these are.
        had: what its users had.
        is_head: bool [items], which items are of the head.
        k: length of the lists, at least the most candidates.
        weights: of retrieval's score in the order of pages.
    """

    data: TrialData
    split: str
    had: Had
    is_head: np.ndarray
    k: int
    weights: Sequence[float]

    @property
    def cascades(self) -> list[Cascade]:
        """How rankers stand behind towers."""
        return cascades_behind(TWO_TOWERS, len(self.data.training_data.content.item_ids), self.weights)

    def file(self, folder: Path, ranker: TrainedRanker | None = None, cascade: Cascade | None = None) -> Path:
        """Where ranks lie of towers that were asked this, or of a ranker behind them."""
        name = f"{self.split}-{self.k}-{_digest(self.is_head.tobytes())}"
        if ranker is None or cascade is None:
            return folder / f"{name}.npz"
        weight = f"-{cascade.weight!r}" if cascade.weight else ""
        return folder / f"{name}-{ranker.folder.name}-{cascade.candidates}{weight}.npz"

    def ask(self, retrievers: Mapping[str, Retriever], watch: Watch, ranker: Ranker | None = None) -> Evaluated:
        """See `evaluate_retrievers`."""
        catalogue, files = self.data.training_data.content.item_ids, self.data.examples[self.split]
        cascades = dict.fromkeys(retrievers, self.cascades)
        return evaluate_retrievers(
            retrievers, files, catalogue, self.had, self.k, self.is_head, ranker, cascades, watch
        )


def is_trained(folder: Path) -> bool:
    """Whether the training has a result."""
    return (folder / _RESULT).is_file()


def train(training: TowerTraining, data: TrialData, folder: Path, progress: str) -> None:
    """Trains towers and keeps them; killed and called again, it goes on from the last whole epoch.

    Args:
        training: what to train.
        data: what to train it on.
        folder: of this training.
        progress: which of several trainings it is, for the user's console.

    Raises:
        ModelError: the train split has no click on an item of the catalogue, or the training diverged.
    """
    started = time.perf_counter()
    try:
        model, result = train_two_towers(
            training.settings,
            training.training,
            data.training_data,
            state_dir=folder / _STATE,
            tensorboard_dir=folder / "tensorboard",
            modalities=training.label.modalities,
            without=training.label.without,
            progress=progress,
        )
    except ModelError as error:
        raise ModelError(f"{training.label}, seed {training.training.seed}: {error}") from error
    with writing(folder / _TOWERS) as file:
        model.save(file)
    seconds = time.perf_counter() - started
    facts = training_facts(str(training.label), training.training.seed, model, result, seconds)
    # Last: a training with a result is finished.
    write_json(folder / _RESULT, facts.to_json())
    forget(folder / _STATE)
    del model
    release_memory()


def ranker_folder(root: Path, trial: Trial, data: TrialData) -> Path:
    """Where a ranker's state, result and model lie, below the comparison's folder."""
    return root / "rankers" / f"{trial.label}-{trial.seed}-{trial.key(data)}"


def train_ranker(trial: Trial, data: TrialData, folder: Path, progress: str) -> None:
    """As `train`, of a model that ranks what was retrieved.

    Raises:
        ModelError: the training diverged, or the model refuses the data.
    """
    trained = train_trial(trial, data, folder, progress)
    with writing(folder / _RANKER) as file:
        trained.model.save(file)
    facts = training_facts(trial.label, trial.seed, trained.model, trained.result, trained.seconds)
    write_json(folder / _RESULT, facts.to_json())
    forget_state(folder)
    del trained
    release_memory()


@dataclass(frozen=True)
class TrainedRanker:
    """A ranker whose training is finished.

    Attributes:
        label: its name, and what it is given.
        model: registered name.
        folder: of the training; its name is the training's own.
    """

    label: str
    model: str
    folder: Path


def judge(folder: Path, question: Question, watch: Watch, ranker: TrainedRanker | None = None) -> None:
    """Asks trained towers, and writes beside them the ranks of positives in their lists, and in those after a ranker.

    Args:
        folder: of the towers.
        question: what they are asked.
        watch: is told of the progress.
        ranker: ranks what they retrieved; None: nobody does.

    Raises:
        ModelError: a model cannot be loaded, or a score is NaN.
    """
    data = question.data.training_data
    ids = data.content.item_ids
    towers = TowerRetriever(cast("Towers", read_model(folder / _TOWERS, TWO_TOWERS)), data.transform, ids)
    behind = None
    if ranker is not None:
        behind = Ranker(read_model(ranker.folder / _RANKER, ranker.model), data.transform, ids)
    evaluated = question.ask({TWO_TOWERS: towers}, watch, behind)
    # Last those without a ranker: they are there for every one.
    for cascade, ranks in evaluated.cascades.get(TWO_TOWERS, {}).items():
        ranks.save(question.file(folder, ranker, cascade))
    evaluated.retrieved[TWO_TOWERS].save(question.file(folder))
    del towers, behind
    release_memory()


def is_judged(folder: Path, question: Question, ranker: TrainedRanker | None = None) -> bool:
    """Whether `judge` has written all that it writes."""
    files = [question.file(folder)]
    files += [question.file(folder, ranker, cascade) for cascade in question.cascades if ranker is not None]
    return all(file.is_file() for file in files)


def read_facts(folder: Path) -> TrainingFacts:
    """What is told of a finished training."""
    return TrainingFacts.from_json(read_json(folder / _RESULT))


def read_ranks(
    folder: Path, question: Question, ranker: TrainedRanker | None = None, cascade: Cascade | None = None
) -> ListRanks:
    """What `judge` wrote of the lists, or of a ranker behind them."""
    return ListRanks.load(question.file(folder, ranker, cascade))


def _digest(of: bytes) -> str:
    return hashlib.sha256(of).hexdigest()[:16]
