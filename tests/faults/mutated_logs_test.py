"""A thousand logs with bytes changed at random: every row is read, quarantined or a reason to stop; none is lost."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pandas as pd
import pytest

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.data.logs.checks import check_sources
from tfx_pipeline.data.logs.cleaning import clean
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.reader import pieces, read_piece
from tfx_pipeline.errors import DataError

_LOGS = 250
_ROWS = 60
T0 = 1_600_000_000
_SPLICES = [
    b'"',
    b'""',
    b",",
    b"\t",
    b"\n",
    b"\r\n",
    b"\r",
    b"\\",
    b'"\n',
    b',"',
    b"\xff",
    b"\0",
    b"{",
    b"}",
    b"NaN",
    b"1e999",
]


def _log(kind: str, folder: Path) -> bytes:
    rows = [
        {
            "user_id": f"u{n % 7}",
            "item_id": f"i{n % 9}",
            "timestamp": 1_600_000_000 + n,
            "label": n % 2,
            "query": f"tv {n}",
        }
        for n in range(_ROWS)
    ]
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    frame = pd.DataFrame(rows)
    if kind == "parquet":
        frame.to_parquet(folder / "whole.parquet", row_group_size=20)
        return (folder / "whole.parquet").read_bytes()
    return frame.to_csv(index=False, sep="\t" if kind == "tsv" else ",").encode()


def _mutated(content: bytes, numbers: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(numbers.randint(1, 4)):
        place = numbers.randrange(len(changed))
        changed[place : place + numbers.choice([0, 0, 1, 1, 5])] = numbers.choice(_SPLICES)
    return bytes(changed[: numbers.choice([len(changed)] * 9 + [numbers.randrange(1, len(changed))])])


def _lines(content: bytes) -> int:
    return sum(1 for line in content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n") if line.strip(b" \t"))


def _accounted_for(config: IngestionConfig) -> int:
    """Rows that are usable or have a reason for their quarantine."""
    check_sources(config)
    [file] = list_files(config.data.interactions)
    rows = 0
    for piece in pieces(file):
        for batch in read_piece(piece, config.log_columns):
            cleaned = clean(batch, file, config)
            rows += len(cleaned.good.row) + sum(cleaned.bad_counts.values())
    return rows


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_no_row_is_unaccounted_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"log.{kind}"
    interactions = {"path": path, **({"separator": "\t"} if kind == "tsv" else {})}
    items = tmp_path / "items.csv"
    items.write_text("item_id\ni0\n")
    config = IngestionConfig.model_validate(
        {"data": {"interactions": interactions, "items": {"path": items}}, "split": {"fractions": {}}}
    )
    whole, stopped, changed = _log(kind, tmp_path), 0, 0
    for seed in range(_LOGS):
        content = _mutated(whole, random.Random(seed))
        path.write_bytes(content)
        try:
            read = _accounted_for(config)
        except DataError:
            stopped += 1
            continue
        changed += read != _ROWS
        if kind == "parquet":
            assert read == _ROWS
        elif kind == "jsonl":
            assert read == sum(1 for line in content.split(b"\n") if line.strip())
        elif kind == "tsv":
            assert read == _lines(content) - 1
        else:
            # A field may hold a line break that was put between two quotes.
            assert _lines(content) - 1 - 4 <= read <= _lines(content) - 1
    assert stopped < _LOGS
    if kind != "parquet":
        assert changed > _LOGS // 10, "the mutations reach the rows"
