"""Finished trainings of towers: `OUTPUT/retrieval/trainings/LABEL-SEED-KEY/` with `result.json` and the model.

Beside these lie the ranks of positives, a file for each way in which the lists were made: another split or other
borders of the head train nothing again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
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
from tfx_pipeline.evaluation.retrieval.evaluate import Evaluated, Watch, evaluate_retrievers
from tfx_pipeline.evaluation.retrieval.ranks import ListRanks
from tfx_pipeline.evaluation.retrieval.retriever import Retriever
from tfx_pipeline.evaluation.retrieval.tower_retriever import TowerRetriever, Towers
from tfx_pipeline.files.json_values import now
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import write_json, writing
from tfx_pipeline.studies.bench.machine import machine
from tfx_pipeline.studies.compare.finished import count_parameters
from tfx_pipeline.studies.compare.training_facts import Timed, TrainingFacts
from tfx_pipeline.studies.retrieval.contenders import TWO_TOWERS
from tfx_pipeline.studies.retrieval.saved_model import read_model
from tfx_pipeline.training.model_code import model_code_digest
from tfx_pipeline.training.retrieval.training import train_two_towers
from tfx_pipeline.training.trainer import forget
from tfx_pipeline.training.trial import release_memory
from tfx_pipeline.training.trial_data import TrialData

_RESULT, _MODEL, _STATE = "result.json", "two_towers.keras", "state"


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
            "settings": self.settings.model_dump(mode="json", exclude={"params"}),
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
        k: length of the lists.
    """

    data: TrialData
    split: str
    had: Had
    is_head: np.ndarray
    k: int

    def file(self, folder: Path) -> Path:
        """Where the ranks of a training lie that was asked this."""
        return folder / f"{self.split}-{self.k}-{_digest(self.is_head.tobytes())}.npz"

    def ask(self, retrievers: Mapping[str, Retriever], watch: Watch) -> Evaluated:
        """See `evaluate_retrievers`."""
        catalogue = self.data.training_data.content.item_ids
        files = self.data.examples[self.split]
        return evaluate_retrievers(retrievers, files, catalogue, self.had, self.k, self.is_head, watch=watch)


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
    with writing(folder / _MODEL) as file:
        model.save(file)
    facts = TrainingFacts(
        label=str(training.label),
        seed=training.training.seed,
        params=model.config.to_dict(),
        history=result.history,
        best_epoch=result.best_epoch,
        requests_per_second=result.requests_per_second,
        seconds=time.perf_counter() - started,
        timed=Timed(now(), machine()),
        parameters=count_parameters(model),
    )
    # Last: a training with a result is finished.
    write_json(folder / _RESULT, facts.to_json())
    forget(folder / _STATE)
    del model
    release_memory()


def judge(folder: Path, question: Question, watch: Watch) -> None:
    """Asks trained towers, and writes the ranks of what was wanted beside them.

    Raises:
        ModelError: the model cannot be loaded, or a score is NaN.
    """
    data = question.data.training_data
    towers = cast("Towers", read_model(folder / _MODEL, TWO_TOWERS))
    retriever = TowerRetriever(towers, data.transform, data.content.item_ids)
    question.ask({TWO_TOWERS: retriever}, watch).retrieved[TWO_TOWERS].save(question.file(folder))
    del towers, retriever
    release_memory()


def read_facts(folder: Path) -> TrainingFacts:
    """What is told of a finished training."""
    return TrainingFacts.from_json(read_json(folder / _RESULT))


def read_ranks(folder: Path, question: Question) -> ListRanks:
    """What `judge` wrote."""
    return ListRanks.load(question.file(folder))


def _digest(of: bytes) -> str:
    return hashlib.sha256(of).hexdigest()[:16]
