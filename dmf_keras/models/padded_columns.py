"""Columns of candidates, of which padding may carry anything."""

from __future__ import annotations

from collections.abc import Mapping

from keras import ops

from dmf_keras.models.inputs import CANDIDATE_INDEX, RankingSchema
from dmf_keras.types import Tensor


def columns_without_padding(inputs: Mapping[str, Tensor], schema: RankingSchema) -> dict[str, Tensor]:
    """The candidate columns there are, 0 at padded candidates: what padding carries may be NaN, and NaN * 0 is NaN."""
    real = ops.not_equal(inputs[CANDIDATE_INDEX], 0)
    names = [name for name in (*schema.candidate_categorical, *schema.candidate_numeric) if name in inputs]
    return {name: ops.where(real, inputs[name], ops.zeros_like(inputs[name])) for name in names}
