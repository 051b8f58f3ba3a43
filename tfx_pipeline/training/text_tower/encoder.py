"""The encoder of the kind `keras`: trained once, kept beside the vectors, and run by every `dmf encode`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa

from dmf_keras.layers import BagTower
from serving.messages import first_line
from tfx_pipeline.config.encoders import KerasEncoder
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.build import build_modality
from tfx_pipeline.data.encoding.contents import Contents, Encoded
from tfx_pipeline.data.encoding.encode import EncodingSummary, TowerTraining, Watch, encode_by
from tfx_pipeline.data.encoding.ngrams import Ngrams, padded
from tfx_pipeline.data.encoding.texts import text_contents, text_items
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.array_file import read_arrays, write_arrays
from tfx_pipeline.files.json_record import RecordError
from tfx_pipeline.files.writing import remove
from tfx_pipeline.training.text_tower.learning import Texts, WatchTraining, learn, new_tower

_DIGITS = 16
# Of the way that it learns: another one is learned anew.
_VERSION = 2
_SETTINGS, _TRAINING = "settings", "training"
_TEXTS_AT_ONCE = 512


def encode_by_tower(config: EncodingConfig, name: str, watch: Watch, watch_training: WatchTraining) -> EncodingSummary:
    """Trains a tower where there is none, makes the vectors of a modality by it, and writes both.

    Args:
        config: of the encoder.
        name: of the modality, one of `encoders` of the kind `keras`.
        watch: is told of the progress of encoding.
        watch_training: and of training.

    Raises:
        DataError: the catalogue, the other modality, the vectors or weights that are there cannot be used, or there are
            too few texts.
    """
    encoder = TextTowerEncoder(config, name, watch_training)
    summary = encode_by(encoder, config, name, watch)
    return dataclasses.replace(summary, training=encoder.training, trained=encoder.trained)


class TextTowerEncoder:
    """Trains a tower on the texts of the catalogue, or takes over that of an earlier run with the same settings.

    Args:
        config: of the encoder.
        name: of the modality.
        watch: is told of the training.

    Attributes:
        width: of the vectors.
        digest: 16 hex digits of the weights; known once `read` was called.
        block: texts between two files on disk, which is what a kill can cost.
        training: what became of it; known once `read` was called.
        trained: whether `read` trained, and did not take over.
    """

    block = 4096

    def __init__(
        self,
        config: EncodingConfig,
        name: str,
        watch: WatchTraining = lambda epoch, epochs, loss, seconds: None,
    ):
        settings = config.encoders[name]
        assert isinstance(settings, KerasEncoder)
        self._config, self._name, self._settings, self._watch = config, name, settings, watch
        self.width, self.digest = settings.width, ""
        self.training: TowerTraining | None = None
        self.trained = False
        self._ngrams = Ngrams(settings.ngrams, settings.buckets, settings.max_words)
        self._file = tower_file(config.modalities[name].path)
        # Of a training that was killed.
        self._state = self._file.with_name(f"{self._file.stem}-training.npz")

    def read(self, table: ItemTable) -> Contents:
        """The texts of the catalogue. The tower is trained on them unless there is one already.

        Raises:
            DataError: the catalogue, the other modality or the file of an earlier run cannot be used, no item has a
                text, or there are too few different ones to train on.
        """
        items = text_items(self._name, table, self._settings.columns, lambda text: bool(Ngrams.words(text)))
        found = self._load() if self._file.is_file() else None
        if found is None:
            found = self._train(items.ids, items.texts, table)
            self._save(*found)
            remove(self._state)
            self.trained = True
        self._tower, self.training = found
        self.digest = self._digest()
        return text_contents(items, self.digest)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The vectors of texts in their order, of length 1."""
        vectors = np.empty((len(texts), self.width), np.float32)
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            bags = [self._ngrams(text) for text in texts[first : first + _TEXTS_AT_ONCE]]
            vectors[first : first + len(bags)] = keras.ops.convert_to_numpy(self._tower(padded(bags)))
        return Encoded(vectors, np.array([self._ngrams.is_cut(text) for text in texts]), {})

    def _train(self, ids: Sequence[str], texts: Sequence[str], table: ItemTable) -> tuple[BagTower, TowerTraining]:
        # What differs in capitals and signs alone is the same bag.
        keys = [" ".join(Ngrams.words(text)[: self._settings.max_words]) for text in texts]
        _, rows, groups = np.unique(np.array(keys, object), return_index=True, return_inverse=True)
        others = None
        if self._settings.against is not None:
            others, present = self._others(self._settings.against, ids)
            rows = np.flatnonzero(present)
            others, groups = others[rows], groups[rows]
        else:
            groups = groups[rows]
        if (different := len(np.unique(groups))) < 2:
            also = "" if others is None else f", and that '{self._settings.against}' has vectors of the same items"
            raise DataError(
                f"encoders.{self._name}: {different} different texts in {table.path} to train on; expected thousands. "
                f"Check `columns`{also}"
            )
        learned = Texts([self._ngrams(texts[row]) for row in rows], groups, others)
        return learn(learned, self._settings, self._watch, self._state)

    def _others(self, name: str, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """float32 [items, width] and bool [items]: vectors of another modality, at the width of its encoder."""
        # The file may have items that have no text here.
        found = build_modality(name, self._config.modalities[name], pa.array(ids, pa.large_string()), 1.0)
        return found.vectors.astype(np.float32), found.present

    def _load(self) -> tuple[BagTower, TowerTraining] | None:
        """Of an earlier run; None where it had other settings."""
        try:
            weights, facts = read_arrays(self._file)
            if facts[_SETTINGS] != self._made_by():
                return None
            training = TowerTraining.from_json(facts[_TRAINING])
            tower = new_tower(self._settings)
            for place, weight in enumerate(tower.weights):
                weight.assign(weights[str(place)])
        except (KeyError, ValueError, RecordError) as error:
            raise DataError(
                f"{self._file} cannot be read: {first_line(error)}. If it is damaged, remove it: it is trained anew"
            ) from None
        return tower, training

    def _save(self, tower: BagTower, training: TowerTraining) -> None:
        weights = {str(place): keras.ops.convert_to_numpy(weight) for place, weight in enumerate(tower.weights)}
        write_arrays(self._file, weights, {_SETTINGS: self._made_by(), _TRAINING: training.to_json()})

    def _made_by(self) -> str:
        settings = self._settings.model_dump(mode="json", exclude={"in_pipeline"})
        return json.dumps({"version": _VERSION, **settings}, sort_keys=True)

    def _digest(self) -> str:
        digest = hashlib.sha256(self._made_by().encode())
        for weight in self._tower.weights:
            digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
        return digest.hexdigest()[:_DIGITS]


def tower_file(vectors: Path) -> Path:
    """Where the weights lie whose vectors a file has."""
    return vectors.with_name(f"{vectors.stem}.tower.npz")
