"""Columns of several values, whatever form the tables have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import Features
from tfx_pipeline.data.examples.encoding import encode
from tfx_pipeline.data.examples.requests import Request, UserRows, split_by_user
from tfx_pipeline.data.logs.checks import check_sources
from tfx_pipeline.data.logs.cleaning import clean
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.reader import log_batches
from tfx_pipeline.data.logs.several_values import several_names
from tfx_pipeline.errors import DataError
from tfx_pipeline.trained.user_state import user_snapshot

NAMES = [["a", "b"], ["b", "b"], [], None, ["a", None, ""], ["c"]]
CLEAN = [[b"a", b"b"], [b"b", b"b"], [], [], [b"a"], [b"c"]]


@pytest.mark.parametrize(
    ("array", "separator"),
    [
        (pa.array(NAMES, pa.list_(pa.string())), None),
        (pa.array(NAMES, pa.large_list(pa.large_string())), None),
        (pa.array(NAMES, pa.list_(pa.dictionary(pa.int32(), pa.string()))), None),
        (pa.array([["z"], *NAMES, ["z"]], pa.list_(pa.string()))[1:-1], None),
        (pa.array(["a|b", "b| b ", "", None, "|a||", " c"]), "|"),
        (pa.array(["a, b", "b, b", "", None, "a,", "c"]).dictionary_encode(), ","),
        # Lists whose texts are still several values.
        (pa.array([["a|b"], ["b", "b"], [], None, ["a|", None], ["c"]], pa.list_(pa.string())), "|"),
    ],
)
def test_every_form_gives_the_same(array: pa.Array, separator: str | None) -> None:
    found = several_names(array, separator)
    assert found.type == pa.large_list(pa.large_binary())
    assert found.to_pylist() == CLEAN


def test_numbers_are_names_as_ids_are() -> None:
    assert several_names(pa.array([[1, 2], [None], None]), None).to_pylist() == [[b"1", b"2"], [], []]
    fixed = pa.array([[1.0, 2.5], None], pa.list_(pa.float64(), 2))
    assert several_names(fixed, None).to_pylist() == [[b"1", b"2.5"], []]
    assert several_names(pa.nulls(2), "|").to_pylist() == [[], []]


def test_text_without_a_separator_is_refused() -> None:
    with pytest.raises(DataError, match=r"has text such as 'a\|b' and not lists; give `separator`"):
        several_names(pa.array([None, "a|b"]), None)


ROWS = [
    {"user_id": "u", "item_id": f"i{place}", "timestamp": 1_600_000_000 + place, "label": place % 2, "tags": names}
    for place, names in enumerate(NAMES)
]


def _config(folder: Path, log: str, separator: str | None, **changes: Any) -> IngestionConfig:
    (folder / "items.csv").write_text("item_id\n" + "".join(f"i{place}\n" for place in range(len(ROWS))))
    (folder / "users.jsonl").write_text('{"user_id": "u", "likes": ["x", "y"]}\n{"user_id": "v", "likes": "x"}\n')
    data = {
        "interactions": {"path": folder / log},
        "items": {"path": folder / "items.csv"},
        "users": {"path": folder / "users.jsonl"},
    }
    values = {
        "data": data,
        "split": {"fractions": {}},
        "context": {"tags": "categorical"},
        "profile": {"likes": "categorical"},
        "multiple": {"tags": separator, "likes": None},
    }
    return IngestionConfig.model_validate({**values, **changes})


def _write(folder: Path, form: str) -> str:
    texts = [{**row, "tags": None if row["tags"] is None else "|".join(filter(None, row["tags"]))} for row in ROWS]
    if form == "log.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), folder / form)
    elif form == "log.jsonl":
        (folder / form).write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        lines = [",".join("" if value is None else str(value) for value in row.values()) for row in texts]
        (folder / form).write_text("\n".join([",".join(ROWS[0]), *lines]) + "\n")
    return form


@pytest.mark.parametrize(("form", "separator"), [("log.parquet", None), ("log.jsonl", None), ("log.csv", "|")])
def test_every_format_gives_the_same_rows(tmp_path: Path, form: str, separator: str | None) -> None:
    config = _config(tmp_path, _write(tmp_path, form), separator)
    check_sources(config)
    (file,) = list_files(config.data.interactions)
    chunks = []
    for batch in log_batches(file, config.data.interactions, config.log_columns, config.log_lists):
        chunks += [chunk for _, chunk in split_by_user(clean(batch, file, config).good, file.ordinal)]
    rows = UserRows.from_chunks(chunks, config.of_rows)
    assert rows.columns["tags"] == CLEAN
    example = encode(b"u", [], Request(1, 0, [b"i"], [0]), "train", {"tags": CLEAN[0]}, {"tags": "categorical"})
    assert b"tags" in example
    snapshot = user_snapshot(config, "u")
    assert snapshot.columns == {"tags": ["c"], "likes": ["x", "y"]}
    # One value of JSON is a list of one.
    assert user_snapshot(config, "v").columns == {"likes": ["x"]}


def test_bad_rows_go_and_lists_stay_with_their_rows(tmp_path: Path) -> None:
    config = _config(tmp_path, _write(tmp_path, "log.jsonl"), None)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    lines[1] = lines[1].replace('"label": 1', '"label": 7')
    lines[2] = lines[2].replace("[]", '{"a": 1}')
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    (file,) = list_files(config.data.interactions)
    (batch,) = log_batches(file, config.data.interactions, config.log_columns, config.log_lists)
    cleaned = clean(batch, file, config)
    assert cleaned.good.columns["tags"].to_pylist() == [CLEAN[0], *CLEAN[3:]]
    assert (cleaned.bad_counts["bad_label"], cleaned.bad_counts["malformed"]) == (1, 1)


def test_a_column_of_one_value_may_have_the_name_of_one_of_several_in_the_other_table(tmp_path: Path) -> None:
    """JSON makes lists of the values of the one, and not of the other."""
    rows = [{key: value for key, value in row.items() if key != "tags"} | {"likes": "z"} for row in ROWS]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = {"context": {"here": "categorical"}, "columns": {"here": "likes"}, "multiple": {"likes": None}}
    snapshot = user_snapshot(_config(tmp_path, "log.jsonl", None, **changes), "u")
    assert snapshot.columns == {"here": "z", "likes": ["x", "y"]}


def test_of_rows_that_are_lists_of_impressions_each_has_those_of_its_row(tmp_path: Path) -> None:
    (tmp_path / "news.csv").write_text(
        "user_id,timestamp,item_id,tags\nu,1600000000,i1-1 i2-0,a|b\nu,1600000009,i3-0,\n"
    )
    config = _config(tmp_path, "news.csv", "|")
    interactions = {"path": tmp_path / "news.csv", "impressions": {"separator": " ", "label_separator": "-"}}
    data = {**config.data.model_dump(), "interactions": interactions}
    config = IngestionConfig.model_validate({**config.model_dump(), "data": data})
    (file,) = list_files(config.data.interactions)
    (batch,) = log_batches(file, config.data.interactions, config.log_columns, config.log_lists)
    good = clean(batch, file, config).good
    assert good.columns["tags"].to_pylist() == [[b"a", b"b"], [b"a", b"b"], []]
    np.testing.assert_array_equal(good.label, [1, 0, 0])


class TestRefused:
    """Before any work, or counted."""

    def test_lists_where_one_value_is_declared(self, tmp_path: Path) -> None:
        config = _config(tmp_path, _write(tmp_path, "log.parquet"), None, multiple={"likes": None})
        with pytest.raises(DataError, match=r"column 'tags' has type list<.*; for lists of them, set multiple: true"):
            check_sources(config)

    def test_lists_of_json_where_one_value_is_declared_are_counted(self, tmp_path: Path) -> None:
        config = _config(tmp_path, _write(tmp_path, "log.jsonl"), None, multiple={"likes": None})
        check_sources(config)
        (file,) = list_files(config.data.interactions)
        (batch,) = log_batches(file, config.data.interactions, config.log_columns, config.log_lists)
        assert len(batch.malformed) == sum(names is not None for names in NAMES)
        assert "'tags' is a list and not a single value" in batch.malformed[0][1]

    def test_text_where_lists_are_declared(self, tmp_path: Path) -> None:
        config = _config(tmp_path, _write(tmp_path, "log.csv"), None)
        with pytest.raises(DataError, match=r"column 'tags' has type string; expected lists .* give their `separator`"):
            check_sources(config)

    def test_structures(self, tmp_path: Path) -> None:
        table = pa.Table.from_pylist([{**row, "tags": [{"name": "a"}]} for row in ROWS])
        pq.write_table(table, tmp_path / "log.parquet")
        for separator, words in ((None, "expected lists of ids or numbers"), ("|", "expected lists of single values")):
            with pytest.raises(DataError, match=words):
                check_sources(_config(tmp_path, "log.parquet", separator))

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            ({"kind": "categorical", "separator": "|"}, r"separator '\|' is for columns of several values"),
            ({"kind": "categorical", "multiple": True, "separator": ""}, "at least 1 character"),
            ({"kind": "categorical", "multiple": True, "max_values": 0}, "greater than or equal to 1"),
            ({"kind": "numeric", "multiple": True}, "multiple"),
        ],
    )
    @pytest.mark.parametrize("of", ["user", "context"])
    def test_configurations(self, of: str, column: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            Features.model_validate({of: {"tags": column}})

    def test_columns_of_candidates(self) -> None:
        with pytest.raises(ValidationError, match="multiple"):
            Features.model_validate({"candidate": {"tags": {"kind": "categorical", "multiple": True}}})


def test_a_configuration_without_them_is_written_as_ever() -> None:
    features = Features.model_validate({"user": {"city": {"kind": "categorical"}}})
    assert json.loads(features.of_requests())["user"] == {
        "city": {"min_count": 1, "max_size": None, "oov_buckets": 1, "kind": "categorical", "column": None}
    }
    several = Features.model_validate({"user": {"city": {"kind": "categorical", "multiple": True, "max_values": 3}}})
    assert json.loads(several.of_requests())["user"]["city"].items() >= {"multiple": True, "max_values": 3}.items()
