"""What a click owes to how the item was shown, apart from what it owes to the item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_count
from dmf_keras.layers.column_embedding import ColumnEmbedding
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.BiasTower")
class BiasTower(keras.layers.Layer):
    """A shallow network over columns such as the position, whose logit is added to that of the ranking network.

        b = w . relu(W [embedded columns] + c)

    It sees nothing of user or item. Trained beside a model that does not see its columns, it takes the part of the
    clicks that they explain; at one constant value it moves all scores alike, and so ranks nothing. There is no bias
    in the last layer: the ranking network has one.

    Args:
        categorical, numeric, dim: as in `ColumnEmbedding`.
        units: int, width of the hidden layer.

    Examples:

    >>> from dmf_keras.layers import BiasTower
    >>> tower = BiasTower(categorical={"position": 11}, dim=4, units=8)
    >>> tuple(tower({"position": np.array([[1, 2, 3]])}).shape)
    (1, 3)

    Raises:
        ValueError: as `ColumnEmbedding`.

    References:
        Zhao et al., Recommending What Video to Watch Next, RecSys 2019, section 4.3: the shallow tower.
    """

    def __init__(
        self,
        categorical: Mapping[str, int],
        numeric: Iterable[str] = (),
        dim: int = 8,
        units: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.units = check_count("units", units)
        self.columns = ColumnEmbedding(categorical, numeric, dim, dtype=self.dtype_policy, name="columns")
        self.hidden = keras.layers.Dense(self.units, activation="relu", dtype=self.dtype_policy, name="hidden")
        # In float32 whatever the policy, as all logits are.
        self.out = keras.layers.Dense(1, use_bias=False, dtype="float32", name="out")

    def build(self, columns_shape: Any = None) -> None:
        """Creates the weights."""
        self.columns.build()
        self.hidden.build((None, self.columns.width))
        self.out.build((None, self.units))

    def call(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Logits float32 [...] of columns [...] by name.

        Raises:
            ValueError: as `ColumnEmbedding.call`.
        """
        return ops.squeeze(self.out(self.hidden(self.columns(columns))), -1)

    def compute_output_shape(self, columns_shape: Mapping[str, Any]) -> tuple[int | None, ...]:
        """As the columns."""
        return tuple(next(iter(columns_shape.values())))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        embedded = self.columns.get_config()
        own = {name: embedded[name] for name in ("categorical", "numeric", "dim")}
        return {**super().get_config(), **own, "units": self.units}
