"""`dmf config check --data`: what a run would refuse after minutes is refused in seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tfx_pipeline.cli import exit_status, main
from tfx_pipeline.config import load_config
from tfx_pipeline.data.preview import PreviewRow, preview
from tfx_pipeline.errors import DataError

_CONFIG = """
name: shop
output: out
data:
  interactions: {path: log.csv}
  items: {path: items.csv}
  users: {path: users.csv}
split: {fractions: {}}
features: {user: {age: {kind: numeric}}}
content: {modalities: {text: {path: text.parquet}}}
"""
_T0 = 1_600_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(_CONFIG)
    log = {"user_id": "u1", "item_id": [f"i{n % 4}" for n in range(40)], "timestamp": range(_T0, _T0 + 40), "label": 1}
    pd.DataFrame(log).to_csv(tmp_path / "log.csv", index=False)
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(3)]})
    items.to_csv(tmp_path / "items.csv", index=False)
    items.assign(embedding=[[1.0, 2.0]] * 3).to_parquet(tmp_path / "text.parquet")
    pd.DataFrame({"user_id": ["u1"], "age": [3]}).to_csv(tmp_path / "users.csv", index=False)
    return tmp_path


def test_the_first_rows_and_the_ids_are_shown(folder: Path, capsys) -> None:
    seen = preview(load_config(folder / "c.yaml"))
    assert (seen.files, seen.rows, seen.usable, seen.unknown_items, seen.unknown_users) == (1, 40, 40, 0.25, 0.0)
    assert seen.first[1] == PreviewRow("u1", "i1", "2020-09-13T12:26:41Z", 1)
    assert main(["config", "check", str(folder / "c.yaml"), "--data"]) == exit_status.OK
    printed = capsys.readouterr().out
    assert "2020-09-13T12:26:41Z" in printed
    assert "40 rows looked at, 40 usable; 25.0% of an item that the catalogue lacks; 0.0% of a user" in printed


def _headless(folder: Path) -> None:
    log = folder / "log.csv"
    log.write_text(log.read_text().partition("\n")[2])


def _other_ids(folder: Path) -> None:
    pd.DataFrame({"item_id": ["I0", "I1"]}).to_csv(folder / "items.csv", index=False)


def _other_users(folder: Path) -> None:
    pd.DataFrame({"user_id": ["u1 "], "age": [3]}).to_csv(folder / "users.csv", index=False)


def _no_labels(folder: Path) -> None:
    log = folder / "log.csv"
    log.write_text(log.read_text().replace(",1\n", ",maybe\n"))


def _too_many_codes(folder: Path) -> None:
    config = folder / "c.yaml"
    config.write_text(
        config.read_text().replace("text.parquet}}", "text.parquet}}, codes: {levels: 2, size: 4, of: text}")
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_headless, "the first line seems to be a row: give the columns' names in `header`"),
        (
            _other_ids,
            "100.0% of the rows .* ids that the catalogue lacks, more than 0.5: .*upper and lower case",
        ),
        (_other_users, "ids that the user table lacks, more than 0.9: .*spaces around them"),
        (_no_labels, r'bad_label 40, such as "maybe" in row 1 of .*expected 0, 1, true or false'),
        (_too_many_codes, r"content\.codes\.size: 4 codes cannot be made of 3 items .* of 'text'; give at most 3"),
    ],
)
def test_what_a_run_would_refuse_is_refused(folder: Path, spoil, said: str) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=said):
        preview(load_config(folder / "c.yaml"))


def test_lists_are_shown_as_impressions(folder: Path, capsys) -> None:
    lists = """
    header: [user_id, timestamp, past, shown]
    columns: {item: shown, history: {column: past, separator: " "}}
    impressions: {separator: " ", label_separator: "-"}
"""
    config = _CONFIG.replace("  interactions: {path: log.csv}", f"  interactions:\n    path: log.csv{lists.rstrip()}")
    (folder / "c.yaml").write_text(config)
    (folder / "log.csv").write_text(f"u1,{_T0},i0 i1 i2,i1-1 i2-0\nu1,{_T0 + 1},,i0-0\n")
    seen = preview(load_config(folder / "c.yaml"))
    assert (seen.rows, seen.usable, seen.impressions) == (2, 2, 3)
    assert [(row.item, row.label, row.history) for row in seen.first] == [("i1", 1, 3), ("i2", 0, 3), ("i0", 0, 0)]
    assert main(["config", "check", str(folder / "c.yaml"), "--data"]) == exit_status.OK
    printed = capsys.readouterr().out
    assert "3 items" in printed and "2 rows looked at, 2 usable, of 3 impressions;" in printed
    # A column of text, and nothing said of what separates its values.
    (folder / "c.yaml").write_text(config.replace('separator: " ", label_separator', "label_separator"))
    with pytest.raises(DataError, match=r"'shown' has type string; expected lists .* give their `separator`"):
        preview(load_config(folder / "c.yaml"))
