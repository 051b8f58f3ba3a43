"""Files that appear whole, and values as JSON knows them."""

from __future__ import annotations

import json

import pytest

from tfx_pipeline.files.writing import plain, write_json


def test_plain_has_no_nan():
    assert plain({"a": [float("nan"), 1.5], "b": ({"c": float("inf")},), "d": 3}) == {
        "a": [None, 1.5],
        "b": [{"c": None}],
        "d": 3,
    }


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "new" / "values.json"
    write_json(file, {"a": float("nan"), "b": [1.5]})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": None, "b": [1.5]}
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": None, "b": [1.5]}
    write_json(file, {})
    assert [path.name for path in file.parent.iterdir()] == ["values.json"]
    assert file.read_text(encoding="utf-8") == "{}\n"
