"""Exported models to measure: those of the registry with random weights, and a given one with other weights."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dmf_keras.models import inputs as model_inputs
from serving import contract
from serving.export.signatures import Tensors, export_model
from serving.load import draw_requests
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.writing import write_lines
from tfx_pipeline.studies.bench import workload
from tfx_pipeline.training.golden import write_warmup_requests

# Of the catalogue; one more row of every table is for what is in none.
ITEMS, USERS = 50_000, 10_000
MAX_HISTORY = 1_000
# The paper's head; everything else is a model's default.
PARAMS: Mapping[str, Any] = {"id_dim": 64, "attention_dim": 64, "hidden_units": (1024, 512, 256)}
# Numbers of candidates of the warm-up requests, as a pipeline has them by default, and their length of history.
_WARMUP_CANDIDATES, _WARMUP_HISTORY = (1, 100, 1200), 100
_SEED = 0


def item_ids() -> list[str]:
    """Ids of the catalogue."""
    return [f"i{number:07d}" for number in range(ITEMS)]


def user_ids() -> list[str]:
    """Ids of the users that have an embedding."""
    return [f"u{number:07d}" for number in range(USERS)]


class CatalogueTransform(tf.Module):
    """Raw ids to the model inputs of `workload.schema`: the lookups of a pipeline's transform, from files as there.

    Args:
        folder: for the vocabulary files, which the exported model copies into itself.
    """

    user_inputs: Mapping[str, str] = {}
    user_lists = ()
    candidate_inputs: Mapping[str, str] = {}
    history_ages = False
    further_histories: dict[str, int] = {}

    def __init__(self, folder: Path):
        super().__init__()
        self._files: list[tf.saved_model.Asset] = []
        for name, ids in ((artifact_files.ITEM_IDS, item_ids()), ("users", user_ids())):
            path = folder / name
            write_lines(path, ids)
            self._files.append(tf.saved_model.Asset(str(path)))
        # Twice for items, as in a pipeline: the row of the id is of the trained vocabulary, that of the content of the
        # catalogue.
        items, users = self._files
        self._index, self._row = _lookup_table(items, ITEMS), _lookup_table(items, -1)
        self._user = _lookup_table(users, USERS)

    @property
    def trackables(self) -> list[Any]:
        """What an export must track."""
        return [*self._files, self._index, self._row, self._user]

    def user(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Model inputs of the user part."""
        index, row = self._items(raw[contract.HISTORY_ITEM_ID][:, -MAX_HISTORY:])
        return {
            model_inputs.HISTORY_INDEX: index,
            model_inputs.HISTORY_CONTENT_ROW: row,
            model_inputs.USER_INDEX: _rows(self._user, raw[contract.USER_ID]),
        }

    def candidates(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Model inputs of the candidates."""
        index, row = self._items(raw[contract.CANDIDATE_ITEM_ID])
        return {model_inputs.CANDIDATE_INDEX: index, model_inputs.CANDIDATE_CONTENT_ROW: row}

    def examples(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """All model inputs of serialised requests."""
        names = (contract.HISTORY_ITEM_ID, contract.CANDIDATE_ITEM_ID)
        spec = {name: tf.io.RaggedFeature(tf.string) for name in names}
        parsed = tf.io.parse_example(serialized, spec | {contract.USER_ID: tf.io.FixedLenFeature([], tf.string)})
        raw = {name: parsed[name].to_tensor("") for name in names} | {contract.USER_ID: parsed[contract.USER_ID]}
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


def export_random_model(name: str, params: Mapping[str, Any], directory: Path, *, item_columns: bool = False) -> None:
    """Exports a model of the registry as the pipeline does, with random weights and content, and warm-up requests.

    Args:
        name: in the registry.
        params: hyper-parameters that differ from the defaults.
        directory: of the SavedModel; must not exist, its parent must, whose name is that of the served model.
        item_columns: whether items have `workload.ITEM_COLUMNS`.
    """
    schema = workload.schema(items=ITEMS + 1, users=USERS + 1, item_columns=item_columns)
    model = workload.model(name, dict(params), schema)
    # New embeddings are almost zero, and every score almost 0.5: no two answers could be told apart.
    embeddings = model.item_embedding.embeddings
    embeddings.assign(np.random.default_rng(_SEED).normal(size=embeddings.shape))
    export_model(model, CatalogueTransform(directory.parent), directory, name=name, max_history=MAX_HISTORY)
    users = [{contract.USER_ID: user_ids()[0]}]
    [drawn] = draw_requests(item_ids(), users, candidates=1, history=_WARMUP_HISTORY, count=1)
    write_warmup_requests(directory, directory.parent.name, [dict(drawn.user)], item_ids(), _WARMUP_CANDIDATES)


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
