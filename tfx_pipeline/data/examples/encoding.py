"""A request as a `tf.Example`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.data.examples.requests import Request

Value = bytes | float | None
Column = Value | list[bytes]


def encode(
    user: bytes,
    history: Sequence[bytes],
    request: Request,
    split: str,
    columns: Mapping[str, Column],
    kinds: Mapping[str, str],
    weights: Sequence[float] | None = None,
    of_candidates: Mapping[str, Sequence[Value]] | None = None,
    candidate_kinds: Mapping[str, str] | None = None,
    ages: np.ndarray | None = None,
    further: Mapping[str, tuple[Sequence[bytes], np.ndarray | None]] | None = None,
) -> bytes:
    """Serialises one request; equal requests give equal bytes.

    Args:
        user: the user's id.
        history: item ids, oldest first.
        request: candidates, labels and time.
        split: the split it belongs to.
        columns: values of profile and context columns, a list of one that may have several; a missing one is absent,
            None, NaN or an empty list.
        kinds: "categorical" or "numeric" for every column of the configuration. Each is written, empty when missing,
            so that every example has the same features.
        weights: of the candidates, where the log has them.
        of_candidates: values of candidate columns, one for each candidate; a missing one is None or NaN.
        candidate_kinds: of these columns, as `kinds`. A missing value is written as "" or NaN, so that each of the
            others stays with its candidate.
        ages: of the history's items in seconds, float32 [L]; None: they are no feature.
        further: of each further history by name the same two: its items, and their ages or None.

    Returns:
        A serialised `tf.Example` with the raw features of `tfx_pipeline.data.examples.raw_features`.
    """
    example = tf.train.Example()
    feature = example.features.feature
    feature[raw_features.USER_ID].bytes_list.value.append(user)
    feature[raw_features.CANDIDATE_ITEM_ID].bytes_list.value.extend(request.candidates)
    feature[raw_features.LABEL].int64_list.value.extend(request.labels)
    for name, labels in request.further_labels.items():
        feature[name].int64_list.value.extend(labels)
    if weights is not None:
        feature[raw_features.WEIGHT].float_list.value.extend(weights)
    feature[raw_features.REQUEST_TIME].int64_list.value.append(request.time_us)
    feature[raw_features.SPLIT].bytes_list.value.append(split.encode())
    for name, kind in kinds.items():
        value = columns.get(name)
        if isinstance(value, list):
            feature[name].bytes_list.value.extend(value)
        elif kind == "categorical":
            feature[name].bytes_list.value.extend([] if value is None else [value])
        else:
            # Not narrowed, as this runs for every value: a numeric column holds no bytes.
            missing = value is None or math.isnan(value)  # type: ignore[arg-type]
            feature[name].float_list.value.extend([] if missing else [value])
    for name, kind in (candidate_kinds or {}).items():
        values = (of_candidates or {})[name]
        if kind == "categorical":
            feature[name].bytes_list.value.extend(b"" if value is None else value for value in values)
        else:
            feature[name].float_list.value.extend(math.nan if value is None else value for value in values)
    _add_history(feature, raw_features.HISTORY_ITEM_ID, history, raw_features.HISTORY_AGE, ages)
    for name, (items, since) in (further or {}).items():
        names = raw_features.further_history_items(name), raw_features.further_history_ages(name)
        _add_history(feature, names[0], items, names[1], since)
    data: bytes = example.SerializeToString(deterministic=True)
    return data


def _add_history(feature: Any, name: str, items: Sequence[bytes], name_of_ages: str, ages: np.ndarray | None) -> None:
    feature[name].bytes_list.value.extend(items)
    # Touching an empty list does not set the kind; without it statistics see no type.
    feature[name].bytes_list.SetInParent()
    if ages is not None:
        feature[name_of_ages].float_list.value.extend(ages.tolist())
        feature[name_of_ages].float_list.SetInParent()
