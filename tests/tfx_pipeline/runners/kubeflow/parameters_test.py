"""Marks of what a run sets: found in sections as deep as they lie, and filled in again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_pipeline.runners.kubeflow.parameters import mark, with_marks, with_values

DATA = Path("/home/shop")
SECTIONS = {
    "ingestion": json.dumps({"data": {"path": "/home/shop/logs/*.parquet", "other": "/mnt/x.csv"}, "n": 42}),
    "training": json.dumps({"seed": 42, "batch_size": 42}),
    "split": {"dates": {"eval_from": "2026-01-01T00:00:00Z", "test_from": "2026-02-01T00:00:00Z"}},
    "code": "abc",
}


def test_finds_paths_the_seed_and_dates_and_nothing_else():
    marked = with_marks(json.dumps(SECTIONS), DATA)
    assert marked.parameters == {"data_root", "seed", "eval_from", "test_from"}
    assert marked.elsewhere == {"/mnt/x.csv"}
    values = json.loads(marked.value)
    assert json.loads(values["ingestion"]) == {
        "data": {"path": mark("data_root") + "/logs/*.parquet", "other": "/mnt/x.csv"},
        "n": 42,
    }
    assert json.loads(values["training"]) == {"seed": mark("seed"), "batch_size": 42}
    assert values["code"] == "abc"


def test_fills_in_a_runs_values_with_their_types():
    marked = with_marks(json.dumps(SECTIONS), DATA).value
    paths = []
    run = {"data_root": "/s3/box", "seed": 7, "eval_from": "2027-01-01", "test_from": "2027-02-01"}
    filled = json.loads(with_values(marked, run, ("custom_config",), lambda keys, path: paths.append((keys, path))))
    assert json.loads(filled["ingestion"])["data"]["path"] == "/s3/box/logs/*.parquet"
    assert json.loads(filled["training"]) == {"seed": 7, "batch_size": 42}
    assert filled["split"]["dates"]["eval_from"] == "2027-01-01"
    assert paths == [(("custom_config", "ingestion", "data", "path"), "/s3/box/logs/*.parquet")]


def test_a_mark_without_a_value_is_an_error():
    with pytest.raises(KeyError, match="seed"):
        with_values(with_marks({"training": {"seed": 1}}, DATA).value, {}, (), lambda keys, path: None)


def test_the_folder_itself_is_the_parameter():
    marked = with_marks(str(DATA), DATA)
    assert marked.value == mark("data_root")
    assert with_values(marked.value, {"data_root": "/data/"}, (), lambda keys, path: None) == "/data"


@pytest.mark.parametrize("value", [None, 3, 0.5, "text", "{not json", "[1, 2", '{"a": "b"}', "/home/shopping/x"])
def test_all_else_stays_as_it_is(value):
    assert with_marks(value, DATA).value == value


_TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just("/home/shop/a"),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["training", "seed", "dates", "eval_from", "x"]), inner)
    ),
)


@given(_TREES)
def test_filling_in_what_was_there_gives_what_was_there(tree):
    marked = with_marks(tree, DATA)
    seen = {"data_root": str(DATA)}

    def same(before, after):
        if after == mark("data_root") or (isinstance(after, str) and after.startswith(mark("data_root") + "/")):
            assert with_values(after, seen, (), lambda keys, path: None) == before
        elif isinstance(after, str) and after in (mark("seed"), mark("eval_from")):
            assert before is not None
        elif isinstance(before, dict):
            assert before.keys() == after.keys()
            for name in before:
                same(before[name], after[name])
        elif isinstance(before, list):
            assert len(before) == len(after)
            for one, other in zip(before, after, strict=True):
                same(one, other)
        else:
            assert before == after

    same(tree, marked.value)
