from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tfx_pipeline.data.examples.encoding import encode
from tfx_pipeline.data.examples.requests import Request

KINDS = {"city": "categorical", "age": "numeric"}


def _decode(data: bytes) -> dict[str, tuple[str, list]]:
    example = tf.train.Example.FromString(data)
    return {
        name: (feature.WhichOneof("kind"), list(getattr(feature, feature.WhichOneof("kind")).value))
        for name, feature in example.features.feature.items()
    }


def test_every_feature_with_its_type() -> None:
    request = Request(1_600_000_000_000_001, 0, [b"i1", b"i2"], [0, 1])
    data = encode(b"u", [b"old", b"new"], request, "eval", {"city": b"Ulm", "age": 30.0}, KINDS)
    assert _decode(data) == {
        "user_id": ("bytes_list", [b"u"]),
        "history_item_id": ("bytes_list", [b"old", b"new"]),
        "candidate_item_id": ("bytes_list", [b"i1", b"i2"]),
        "label": ("int64_list", [0, 1]),
        "request_time_us": ("int64_list", [1_600_000_000_000_001]),
        "split": ("bytes_list", [b"eval"]),
        "city": ("bytes_list", [b"Ulm"]),
        "age": ("float_list", [30.0]),
    }


def test_what_is_missing_is_written_as_an_empty_list_of_its_type() -> None:
    for columns in ({}, {"city": None, "age": None}, {"city": None, "age": math.nan}):
        features = _decode(encode(b"u", [], Request(1, 0, [b"i"], [0]), "train", columns, KINDS))
        assert features["history_item_id"] == ("bytes_list", [])
        assert features["city"] == ("bytes_list", [])
        assert features["age"] == ("float_list", [])


def test_equal_requests_give_equal_bytes() -> None:
    def once(columns: dict) -> bytes:
        return encode(b"u", [b"h"] * 3, Request(1, 0, [b"i"], [0]), "train", columns, KINDS)

    assert once({"city": b"Ulm", "age": 1.0}) == once({"age": 1.0, "city": b"Ulm"})


def test_ages_are_written_where_there_are_some_and_an_empty_list_is_one_of_numbers() -> None:
    request, ages = Request(1, 0, [b"i"], [0]), np.array([1.5, math.nan], np.float32)
    kind, written = _decode(encode(b"u", [b"h", b"g"], request, "train", {}, {}, ages=ages))["history_age_s"]
    assert (kind, written[0]) == ("float_list", 1.5) and math.isnan(written[1])
    assert _decode(encode(b"u", [], request, "train", {}, {}, ages=ages[:0]))["history_age_s"] == ("float_list", [])
    assert "history_age_s" not in _decode(encode(b"u", [], request, "train", {}, {}))
