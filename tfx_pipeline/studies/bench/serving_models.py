"""Exported models to measure: those of the registry with random weights, and a given one with other weights."""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dmf_keras.models import RankingSchema
from dmf_keras.models import inputs as model_inputs
from dmf_keras.models.ranking_model import RankingModel
from serving import contract
from serving.export.graph import Tensors
from serving.export.signatures import export_model
from serving.load import RankRequest, draw_requests
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.writing import write_lines
from tfx_pipeline.studies.bench import workload
from tfx_pipeline.studies.bench.variant import CANDIDATE_COLUMNS, HISTORIES, Variant
from tfx_pipeline.training.golden import write_warmup_requests

# Of the catalogue; one more row of every table is for what is in none.
ITEMS, USERS = 50_000, 10_000
MAX_HISTORY = 1_000
# The paper's head; everything else is a model's default.
PARAMS: Mapping[str, Any] = {"id_dim": 64, "attention_dim": 64, "hidden_units": (1024, 512, 256)}
# Numbers of candidates of the warm-up requests, as a pipeline has them by default, and their length of history.
_WARMUP_CANDIDATES, _WARMUP_HISTORY = (1, 100, 1200), 100
_CANDIDATE_INPUTS = {workload.BADGE: "string", **dict.fromkeys(workload.COLUMNS_OF_CANDIDATES, "float32")}
_SEED, _BIAS = 0, 0.1


def item_ids(items: int | None = None) -> list[str]:
    """Ids of a catalogue of so many items; None: of `ITEMS`."""
    return [f"i{number:07d}" for number in range(ITEMS if items is None else items)]


def user_ids() -> list[str]:
    """Ids of the users that have an embedding."""
    return [f"u{number:07d}" for number in range(USERS)]


def badges() -> list[str]:
    """Values of the candidate column of names."""
    return [f"badge {number}" for number in range(workload.BADGES)]


class CatalogueTransform(tf.Module):
    """Raw ids to the model inputs of `workload.schema`: the lookups of a pipeline's transform, from files as there.

    Args:
        folder: for the vocabulary files, which the exported model copies into itself.
        extras: of `variant.EXTRAS`: whether candidates have columns, and users further histories.
        items: of the catalogue; None: `ITEMS`.
    """

    user_inputs: Mapping[str, str] = {}
    user_lists = ()
    history_ages = False

    def __init__(self, folder: Path, extras: Collection[str] = (), items: int | None = None):
        super().__init__()
        catalogue = item_ids(items)
        shown = CANDIDATE_COLUMNS in extras
        self.candidate_inputs = _CANDIDATE_INPUTS if shown else {}
        self.further_histories = dict.fromkeys(workload.FURTHER_HISTORIES if HISTORIES in extras else (), MAX_HISTORY)
        self._files: list[tf.saved_model.Asset] = []
        vocabularies = {artifact_files.ITEM_IDS: catalogue, "users": user_ids()}
        for name, ids in (vocabularies | ({workload.BADGE: badges()} if shown else {})).items():
            path = folder / name
            write_lines(path, ids)
            self._files.append(tf.saved_model.Asset(str(path)))
        # Twice for items, as in a pipeline: the row of the id is of the trained vocabulary, that of the content of the
        # catalogue.
        of_items, users, *shown_files = self._files
        self._index, self._row = _lookup_table(of_items, len(catalogue)), _lookup_table(of_items, -1)
        self._user = _lookup_table(users, USERS)
        self._badges = [_lookup_table(file, workload.BADGES) for file in shown_files]

    @property
    def trackables(self) -> list[Any]:
        """What an export must track."""
        return [*self._files, self._index, self._row, self._user, *self._badges]

    def user(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Model inputs of the user part."""
        found = {model_inputs.USER_INDEX: _rows(self._user, raw[contract.USER_ID])}
        for further in (None, *self.further_histories):
            feature = contract.HISTORY_ITEM_ID if further is None else contract.further_history_items(further)
            index, row = self._items(raw[feature][:, -MAX_HISTORY:])
            made = {model_inputs.HISTORY_INDEX: index, model_inputs.HISTORY_CONTENT_ROW: row}
            found |= (
                made if further is None else {model_inputs.of_history(name, further): v for name, v in made.items()}
            )
        return found

    def candidates(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Model inputs of the candidates; a number that is not there is the mean."""
        index, row = self._items(raw[contract.CANDIDATE_ITEM_ID])
        found = {model_inputs.CANDIDATE_INDEX: index, model_inputs.CANDIDATE_CONTENT_ROW: row}
        for name in self.candidate_inputs:
            if name == workload.BADGE:
                found[name] = _rows(self._badges[0], raw[name])
            else:
                found[name] = tf.where(tf.math.is_nan(raw[name]), tf.zeros_like(raw[name]), raw[name])
        return found

    def examples(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """All model inputs of serialised requests."""
        further = map(contract.further_history_items, self.further_histories)
        names = dict.fromkeys((contract.HISTORY_ITEM_ID, contract.CANDIDATE_ITEM_ID, *further), "string")
        names |= self.candidate_inputs
        spec = {name: tf.io.RaggedFeature(tf.as_dtype(kind)) for name, kind in names.items()}
        parsed = tf.io.parse_example(serialized, spec | {contract.USER_ID: tf.io.FixedLenFeature([], tf.string)})
        raw = {name: parsed[name].to_tensor("" if kind == "string" else math.nan) for name, kind in names.items()}
        raw[contract.USER_ID] = parsed[contract.USER_ID]
        return {**self.user(raw), **self.candidates(raw)}

    def _items(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _rows(self._index, ids), _rows(self._row, ids)


def _lookup_table(file: tf.saved_model.Asset, default: int) -> tf.lookup.StaticHashTable:
    line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    return tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(file.asset_path, tf.string, line, tf.int64, number), default
    )


def _rows(table: tf.lookup.StaticHashTable, ids: tf.Tensor) -> tf.Tensor:
    """Table rows of ids: 0 is padding, which "" is."""
    return tf.cast(tf.where(ids == "", tf.zeros_like(ids, tf.int64), table.lookup(ids) + 1), tf.int32)


def random_model(variant: Variant, schema: RankingSchema) -> RankingModel:
    """A model of the registry with random weights and content; it has `PARAMS` as far as it knows them."""
    model = workload.model(variant.model, variant.params(PARAMS), schema)
    # New embeddings are almost zero, and every score almost 0.5: no two answers could be told apart.
    embeddings, rng = model.item_embedding.embeddings, np.random.default_rng(_SEED)
    embeddings.assign(rng.normal(size=embeddings.shape))
    # New biases are zeros, which a graph leaves out.
    for bias in (weight for weight in model.trainable_weights if weight.name == "bias"):
        bias.assign(rng.normal(scale=_BIAS, size=bias.shape))
    return model


def export_random_model(variant: Variant, directory: Path) -> None:
    """Exports a model of the registry as the pipeline does, with random weights and content, and warm-up requests.

    Args:
        variant: the model, and what it is given; see `random_model`.
        directory: of the SavedModel; must not exist, its parent must, whose name is that of the served model.
    """
    schema = workload.schema(items=ITEMS + 1, users=USERS + 1, extras=variant.extras)
    model = random_model(variant, schema)
    transform = CatalogueTransform(directory.parent, variant.extras)
    export_model(
        model.for_serving(variant.precision), transform, directory, name=variant.model, max_history=MAX_HISTORY
    )
    [drawn] = random_requests(variant, candidates=1, history=_WARMUP_HISTORY, count=1)
    request = {**drawn.user, **drawn.columns}
    write_warmup_requests(directory, directory.parent.name, [request], item_ids(), _WARMUP_CANDIDATES)


def random_requests(variant: Variant, *, candidates: int, history: int, count: int) -> list[RankRequest]:
    """Requests of one size for a model of `export_random_model`, of its users, items and columns.

    Args:
        variant: the model.
        candidates: N of every request.
        history: L, of every history.
        count: of requests.
    """
    pools = {
        name: badges() if kind == "string" else np.random.default_rng(_SEED).normal(size=100).tolist()
        for name, kind in (_CANDIDATE_INPUTS if CANDIDATE_COLUMNS in variant.extras else {}).items()
    }
    return draw_requests(
        item_ids(),
        [{contract.USER_ID: user} for user in user_ids()[:count]],
        candidates=candidates,
        history=history,
        count=count,
        columns=pools,
        histories=workload.FURTHER_HISTORIES if HISTORIES in variant.extras else (),
    )


def copy_with_other_weights(source: Path, directory: Path) -> None:
    """Copies an exported model and changes all its floating-point weights: as good as trained anew for telling who
    scored what.

    Args:
        source: an exported model, which stays as it is.
        directory: of the copy; must not exist.
    """
    shutil.copytree(source, directory, ignore=shutil.ignore_patterns("variables"))
    reader = tf.train.load_checkpoint(str(source / "variables" / "variables"))
    names = sorted(reader.get_variable_to_shape_map())
    rng = np.random.default_rng(_SEED)
    tensors = []
    for name in names:
        tensor = tf.constant(reader.get_tensor(name))
        if tensor.dtype.is_floating:
            # Signs stay: a variance must not become negative.
            factors = rng.uniform(0.5, 1.5, tensor.shape)
            tensor = tf.cast(tf.cast(tensor, tf.float64) * factors, tensor.dtype)
        tensors.append(tensor)
    (directory / "variables").mkdir()
    prefix = str(directory / "variables" / "variables")
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
