"""Columns side by side: names and buckets embedded, numbers as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_count, check_kind
from dmf_keras.ops.rows import take_rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.ColumnEmbedding")
class ColumnEmbedding(keras.layers.Layer):
    """Embeds columns of indices and joins them with columns of numbers, whatever they are columns of.

        concat(E_1[column_1], ..., E_k[column_k], number_1, ..., number_m)

    Each categorical column has a table of its own, whose row 0 is that of a missing value and is trained as any other.

    Args:
        categorical: rows of the embedding by column, row 0 included.
        numeric: columns of scaled numbers, each of which is one output.
        dim: int, width of an embedding.

    Examples:

    >>> from dmf_keras.layers import ColumnEmbedding
    >>> layer = ColumnEmbedding(categorical={"slot": 5}, numeric=["price"], dim=8)
    >>> columns = {"slot": np.array([[1, 4, 0]]), "price": np.array([[0.5, -1.0, 0.0]])}
    >>> tuple(layer(columns).shape)
    (1, 3, 9)

    Raises:
        ValueError: no columns, one that is of both kinds, or sizes that are no positive integers.
    """

    def __init__(
        self, categorical: Mapping[str, int], numeric: Iterable[str] = (), dim: int = 16, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.dim = check_count("dim", dim)
        self.categorical = {name: check_count(f"categorical[{name!r}]", size) for name, size in categorical.items()}
        self.numeric = tuple(numeric)
        if not self.categorical and not self.numeric:
            raise ValueError("there must be at least one column. Received: no `categorical` and no `numeric`")
        if both := sorted(set(self.categorical) & set(self.numeric)):
            raise ValueError(f"a column is categorical or numeric. Received in both: {both}")
        self.tables: list[Any] = []

    @property
    def width(self) -> int:
        """Of the output."""
        return self.dim * len(self.categorical) + len(self.numeric)

    def build(self, columns_shape: Any = None) -> None:
        """Creates the weights."""
        self.tables = [
            self.add_weight(name=name, shape=(size, self.dim), initializer="uniform", autocast=False)
            for name, size in self.categorical.items()
        ]

    def call(self, columns: Mapping[str, Tensor]) -> Tensor:
        """The columns [..., `width`] in the order of `categorical`, then of `numeric`.

        Args:
            columns: by name, all of one shape [...]: int indices or float numbers; others are ignored.

        Raises:
            ValueError: a column is missing, or a categorical one does not hold integers.
        """
        missing = [name for name in (*self.categorical, *self.numeric) if name not in columns]
        if missing:
            raise ValueError(f"missing columns: {', '.join(missing)}. Received: {', '.join(sorted(columns)) or 'none'}")
        parts = []
        for name, table in zip(self.categorical, self.tables, strict=True):
            check_kind(name, columns[name], "int")
            parts.append(ops.cast(take_rows(table, columns[name]), self.compute_dtype))
        parts += [ops.expand_dims(ops.cast(columns[name], self.compute_dtype), -1) for name in self.numeric]
        return ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, columns_shape: Mapping[str, Any]) -> tuple[int | None, ...]:
        """[..., `width`]."""
        return (*next(iter(columns_shape.values())), self.width)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        own = {"categorical": dict(self.categorical), "numeric": list(self.numeric), "dim": self.dim}
        return {**super().get_config(), **own}
