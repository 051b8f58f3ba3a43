from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.data.logs.checks import check_sources
from tfx_pipeline.errors import DataError

LOG = "user_id,item_id,timestamp,label\nu,i,1600000000,1\n"


def _config(folder: Path, log: str = "log.csv", **changes: Any) -> IngestionConfig:
    (folder / "items.csv").write_text("item_id\ni\n")
    (folder / "users.csv").write_text("user_id,age\nu,30\n")
    data = {
        "interactions": {"path": folder / log, **changes.pop("interactions", {})},
        "items": {"path": folder / "items.csv"},
        "users": {"path": folder / "users.csv"},
    }
    return IngestionConfig.model_validate({"data": data, "split": {"fractions": {}}, **changes})


def test_sound_sources_pass(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    check_sources(_config(tmp_path, profile={"age": "numeric"}))


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        (
            "user_id,item_id,label\nu,i,1\n",
            {},
            r"data\.interactions: .*log\.csv: no column 'timestamp'; columns there: ",
        ),
        (LOG, {"context": {"device": "categorical"}}, r"no column 'device'"),
        (LOG, {"interactions": {"columns": {"request": "rid"}}}, r"no column 'rid'"),
        (LOG, {"profile": {"height": "numeric"}}, r"data\.users: .*users\.csv: no column 'height'"),
        (LOG.splitlines()[0] + "\n", {}, r"data\.interactions: no rows in .*log\.csv"),
        ("", {}, r"data\.interactions: no rows in .*log\.csv"),
        (LOG.replace(",", ";"), {}, r"only one column was found with separator ','"),
    ],
)
def test_text_tables(tmp_path: Path, text: str, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        check_sources(_config(tmp_path, **changes))


def test_every_file_of_a_directory_is_checked(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log/1.csv").write_text(LOG)
    (tmp_path / "log/2.jsonl").write_text('{"user_id": "u"}\n')
    with pytest.raises(
        DataError, match=r"2\.jsonl: no column 'item_id', 'timestamp', 'label'; columns there: 'user_id'"
    ):
        check_sources(_config(tmp_path, "log"))
    (tmp_path / "log/2.jsonl").write_text("")
    check_sources(_config(tmp_path, "log"))
    (tmp_path / "log/1.csv").write_text(LOG.splitlines()[0])
    with pytest.raises(DataError, match="no rows in 2 files of"):
        check_sources(_config(tmp_path, "log"))


def test_impossible_types_are_named(tmp_path: Path) -> None:
    table = {"user_id": ["u"], "item_id": [["i", "j"]], "timestamp": [1600000000], "label": [1]}
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"column 'item_id' has type list<.*expected single values"):
        check_sources(_config(tmp_path, "log.parquet"))
    table |= {"item_id": ["i"], "hour": pa.array([0], pa.timestamp("s"))}
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    check_sources(_config(tmp_path, "log.parquet", context={"hour": "categorical"}))
    with pytest.raises(DataError, match="column 'hour' has type timestamp"):
        check_sources(_config(tmp_path, "log.parquet", context={"hour": "numeric"}))


def test_unreadable_parquet_and_missing_catalogue(tmp_path: Path) -> None:
    (tmp_path / "log.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match=r"data\.interactions: .*log\.parquet: not a readable parquet file"):
        check_sources(_config(tmp_path, "log.parquet"))
    (tmp_path / "log.csv").write_text(LOG)
    config = _config(tmp_path)
    (tmp_path / "items.csv").unlink()
    with pytest.raises(DataError, match=r"data\.items: .*items\.csv: no such file"):
        check_sources(config)
