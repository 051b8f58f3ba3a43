"""Values as JSON knows them."""

from __future__ import annotations

from tfx_pipeline.files.json_values import plain


def test_plain_has_no_nan():
    assert plain({"a": [float("nan"), 1.5], "b": ({"c": float("inf")},), "d": 3}) == {
        "a": [None, 1.5],
        "b": [{"c": None}],
        "d": 3,
    }
