"""What the tables of a model take of the memory while it is trained, known before any is made."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from dmf_keras.models.inputs import RankingSchema
from dmf_keras.models.model_config import ModelConfig
from dmf_keras.models.registry import uses_content
from tfx_pipeline.config.schema import Training
from tfx_pipeline.console import console
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files.memory import available_bytes

# A weight and Adam's two moments of it; and its average, beside which validation keeps the weight.
_ADAM_COPIES, _AVERAGE_COPIES = 3, 2
_FLOAT_BYTES = 4
# Of what there is. Below, nobody has to know.
_WORTH_TELLING = 0.1
_GIGABYTE = 1e9
_ITEMS, _USERS, _CONTENT = "features.item_id", "features.user_id", "content of "


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a model.

    Attributes:
        name: what has rows in it, as the configuration calls it.
        rows, width: its shape.
        row_bytes: of each row in training, with all that is kept of it.
    """

    name: str
    rows: int
    width: int
    row_bytes: int

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return self.rows * self.row_bytes

    def __str__(self) -> str:
        return f"{self.name} {self.rows:,} rows of {self.width}, {self.size / _GIGABYTE:,.1f} GB"


def tables(name: str, schema: RankingSchema, config: ModelConfig, training: Training) -> list[Table]:
    """The tables of IDs and content, the largest first; others have few rows.

    Args:
        name: of the model in the registry.
        schema: sizes that come from the data.
        config: of the model. Of one that has no `id_dim` the tables of IDs are not known, and not there.
        training: whether weights are averaged.
    """
    copies = _ADAM_COPIES + (_AVERAGE_COPIES if training.average_weights else 0)
    width = getattr(config, "id_dim", None)
    found = []
    if width is not None:
        ids = {_ITEMS: schema.item_rows, _USERS: schema.user_rows or 0}
        found += [Table(of, rows, width, copies * _FLOAT_BYTES * width) for of, rows in ids.items() if rows]
    for modality, spec in schema.modalities.items() if uses_content(name) else ():
        # Never trained, so there is one of it.
        row_bytes = spec.width * np.dtype(spec.dtype).itemsize
        found.append(Table(f"{_CONTENT}{modality}", schema.content_rows, spec.width, row_bytes))
    return sorted(found, key=lambda table: -table.size)


def check_memory(
    name: str,
    schema: RankingSchema,
    config: ModelConfig,
    training: Training,
    available: int | None = None,
    params: str = "model.params",
) -> None:
    """Refuses a training whose tables do not fit into the memory, and tells of one that takes much of it.

    On GPUs nothing is refused: how much of their memory is free is not known before.

    Args:
        name, schema, config, training: see `tables`.
        available: bytes; None: what the system says.
        params: where the configuration has the model's hyper-parameters, for messages.

    Raises:
        ModelError: tables need more than there is; the message says which, and what to do.
    """
    there = available_bytes() if available is None else available
    found = tables(name, schema, config, training)
    needed = sum(table.size for table in found)
    named = "; ".join(str(table) for table in found)
    if there is None or needed < _WORTH_TELLING * there:
        return
    said = f"the tables of {name} take at least {needed / _GIGABYTE:,.1f} GB in training ({named})"
    if needed > there and not tf.config.list_logical_devices("GPU"):
        raise ModelError(f"{said}; {there / _GIGABYTE:,.1f} GB of memory are free. {_advice(found[0].name, params)}")
    console().print(f"{said}, of {there / _GIGABYTE:,.1f} GB that are free", soft_wrap=True)


def _advice(largest: str, params: str) -> str:
    if largest.startswith(_CONTENT):
        return (
            "Store vectors in less, by a smaller dim of the modality or dtype int8, or take a machine with more memory."
        )
    fewer = (
        f"Give rows of their own to fewer ids: {largest}.max_size or min_count; all others share {largest}.oov_buckets "
        "rows by their hash"
    )
    also = (
        f". Or leave {_USERS} out"
        if largest == _USERS
        else ", and items are told apart by their content if they have any"
    )
    return f"{fewer}{also}. Or choose a smaller {params}.id_dim, or a machine with more memory."
