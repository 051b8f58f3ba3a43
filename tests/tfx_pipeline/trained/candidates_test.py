"""Which items `dmf rank` ranks: ids out of files, less what may not be shown."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from serving import contract
from tfx_pipeline.cli import main
from tfx_pipeline.console import Console
from tfx_pipeline.errors import DataError
from tfx_pipeline.trained.candidates import STDIN, OnlyList, read_item_ids
from tfx_pipeline.trained.rank import Ranking, print_ranking, rank
from tfx_pipeline.trained.version import Version


@pytest.fixture
def model(trained, tmp_path) -> Path:
    """A copy of the exported model, whose logs are a log of one user and a catalogue."""
    version = tmp_path / "shop" / "7"
    shutil.copytree(trained / "Format-Serving", version)
    file = version / contract.LOGS_FILE
    values = json.loads(file.read_text())
    rows = [{"user_id": "u1", "item": f"i{n}", "timestamp": 1_700_000_000 + n, "label": n % 2} for n in range(12)]
    pd.DataFrame(rows).to_csv(tmp_path / "log.csv", index=False)
    pd.DataFrame({"sku": [f"i{n}" for n in range(40)]}).to_csv(tmp_path / "items.csv", index=False)
    values["data"]["interactions"] = {"path": str(tmp_path / "log.csv"), "columns": {"item": "item"}}
    values["data"]["items"] = {"path": str(tmp_path / "items.csv"), "id_column": "sku"}
    file.write_text(json.dumps(values))
    return version


CLICKED = ["i1", "i3", "i5", "i7", "i9", "i11"]


@pytest.fixture
def ranked(model) -> Callable[..., Ranking]:
    """Returns ranked(**options): a ranking without scores, which spares the loading of the model."""

    def run(**options) -> Ranking:
        return rank(
            Version(model),
            "u1",
            scorer=lambda _, request: {contract.SCORE: np.zeros(len(request[contract.CANDIDATE_ITEM_ID]))},
            **options,
        )

    return run


def items(found: Ranking) -> list[str]:
    return [entry.item for entry in found.ranking]


def text(path: Path, ids: list[str]) -> None:
    path.write_text("\ufeff" + "\r\n".join([*ids, "", ""]), encoding="utf-8")


def compressed(path: Path, ids: list[str]) -> None:
    path.write_bytes(gzip.compress(("n,item_id\n" + "".join(f"1,{item}\n" for item in ids)).encode()))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("ids", text),
        ("ids.txt", text),
        ("ids.csv", lambda path, ids: pd.DataFrame({"n": 1, "item_id": ids}).to_csv(path, index=False)),
        ("ids.csv", lambda path, ids: pd.DataFrame({"item_id": "x", "item": ids}).to_csv(path, index=False)),
        ("ids.tsv", lambda path, ids: pd.DataFrame({"n": 1, "sku": ids}).to_csv(path, index=False, sep="\t")),
        ("ids.csv.gz", compressed),
        ("ids.jsonl", lambda path, ids: pd.DataFrame({"sku": ids}).to_json(path, orient="records", lines=True)),
        ("ids.parquet", lambda path, ids: pd.DataFrame({"item": ids}).to_parquet(path)),
    ],
)
def test_ids_are_read_as_the_ending_says(model, tmp_path, name, write):
    write(tmp_path / name, ["i2", "i1", "neu ü", "i2"])
    assert read_item_ids(tmp_path / name, Version(model)) == ["i2", "i1", "neu ü", "i2"]


def test_ids_of_numbers_are_text(model, tmp_path):
    pd.DataFrame({"item": [12, 7]}).to_parquet(tmp_path / "ids.parquet")
    assert read_item_ids(tmp_path / "ids.parquet", Version(model)) == ["12", "7"]


def test_ids_may_come_from_standard_input(model, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"i2\ni1\n")))
    assert read_item_ids(STDIN, Version(model)) == ["i2", "i1"]


def test_a_model_without_its_logs_looks_for_the_usual_name(model, tmp_path):
    (model / contract.LOGS_FILE).unlink()
    pd.DataFrame({"item_id": ["i1"]}).to_csv(tmp_path / "ids.csv", index=False)
    assert read_item_ids(tmp_path / "ids.csv", Version(model)) == ["i1"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ids.txt", b"", "holds no item id; expected one a line, or a column"),
        ("ids.txt", b"\n \r\n", "holds no item id; expected one a line, or a column"),
        ("ids.csv", b"item_id\n", "holds no item id"),
        ("ids.csv", b"", r"no column of item ids; expected one of 'sku', 'item', 'item_id'; columns there: none"),
        (
            "ids.csv",
            b"a,b\n1,2\n",
            r"one of 'sku', 'item', 'item_id'; columns there: 'a', 'b'. A list without",
        ),
        ("ids.txt", b"i1\nc\xe9\n", "line 2 is not UTF-8; expected item ids"),
        ("ids.parquet", b"no parquet", "not a readable parquet file"),
    ],
)
def test_a_file_that_holds_no_ids_is_a_sentence(model, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_item_ids(tmp_path / name, Version(model))


def test_a_file_that_is_not_there_is_a_sentence(model, tmp_path):
    with pytest.raises(DataError, match="no such file; expected item ids: one a line, or a column"):
        read_item_ids(tmp_path / "no.txt", Version(model))
    with pytest.raises(DataError, match="no such file"):
        read_item_ids(tmp_path, Version(model))


def test_what_the_user_clicked_is_left_out_however_long_ago(ranked):
    found = ranked(top=1000, exclude_seen=True)
    # The history holds the last four of them alone.
    assert found.history == CLICKED[-4:]
    assert set(items(found)) == {f"i{n}" for n in range(40)} - set(CLICKED)
    assert found.excluded_seen == 6
    assert found.notes == ["candidates left out, as the user had them already (--exclude-seen): 6"]
    # Before the best are taken, not after.
    assert len(items(ranked(top=5, exclude_seen=True))) == 5
    assert ranked(top=5).excluded_seen is None


def test_a_history_that_is_given_counts_as_seen_too(ranked, model):
    found = ranked(candidates=["i1", "i2", "i4"], history=["i2"], exclude_seen=True)
    assert (items(found), found.excluded_seen) == (["i4"], 2)
    (model.parents[1] / "log.csv").unlink()
    found = ranked(candidates=["i1", "i2", "i4"], history=["i2"], exclude_seen=True)
    assert (items(found), found.excluded_seen) == (["i1", "i4"], 1)
    with pytest.raises(DataError, match="they are not here; give what the user had by --history, or leave"):
        ranked(candidates=["i1"], exclude_seen=True)


def test_the_catalogue_is_cut_to_a_list(ranked):
    listed = ["i2", "x1", "i30", "x2", "x3", "i2", "x4"]
    found = ranked(top=10, only=listed)
    assert set(items(found)) == {"i2", "i30"}
    assert found.only == OnlyList(listed=6, unknown=4, unknown_items=["x1", "x2", "x3"], left_out=38)
    assert found.notes == [
        "candidates left out, as the list of --only lacks them: 38",
        "ids of --only that the catalogue lacks: 4 of 6, 'x1', 'x2', 'x3', ...",
    ]
    assert json.loads(json.dumps(found.to_json()))["only"] == dataclasses.asdict(found.only)
    out = Console(width=160, record=True, file=io.StringIO())
    print_ranking(found, out)
    printed = out.export_text()
    assert all(note in printed for note in found.notes)


def test_candidates_are_cut_to_a_list_before_what_was_seen_is_counted(ranked):
    found = ranked(candidates=["i1", "i3", "i4", "i5"], only=["i3", "i4"], exclude_seen=True)
    assert items(found) == ["i4"]
    assert (found.excluded_seen, found.only.left_out) == (1, 2)


def test_nothing_left_is_a_sentence_with_the_reasons(ranked):
    with pytest.raises(DataError, match=r"of 3 candidates none is left .*the user had .* 1; .*--only lacks them: 2\."):
        ranked(candidates=["i1", "i2", "i4"], only=["i1"], exclude_seen=True)
    with pytest.raises(
        DataError, match=r"of 40 candidates none is left .* that the catalogue lacks: 2 of 2, 'x1', 'x2'\."
    ):
        ranked(top=5, only=["x1", "x2"])


def test_the_command_takes_files(model, tmp_path, capsys):
    (tmp_path / "ids.txt").write_text("i1\ni2\ni4\n")
    pd.DataFrame({"item_id": ["i1", "i2", "nix"]}).to_csv(tmp_path / "only.csv", index=False)
    command = ["rank", "--model", str(model), "--user", "u1", "--candidates-from", str(tmp_path / "ids.txt")]
    assert main([*command, "--only", str(tmp_path / "only.csv"), "--exclude-seen", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["item"] for entry in found["ranking"]] == ["i2"]
    assert found["excluded_seen"] == 1
    assert found["only"] == {"listed": 3, "unknown": 1, "unknown_items": ["nix"], "left_out": 1}
    with pytest.raises(SystemExit):
        main([*command, "--top", "3"])
    (tmp_path / "ids.txt").write_text("")
    assert main(command) == 1
    assert "ids.txt holds no item id" in capsys.readouterr().err
