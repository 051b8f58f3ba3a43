"""The synthetic log that `dmf bench ingestion` reads, and the configuration that reads it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.config.ingestion import IngestionConfig

HISTORY = 50
_ITEMS = 100_000
_EVENTS_PER_USER = 250
_DAYS, _EVAL_DAY, _TEST_DAY = 90, 72, 81
_BEGIN = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_DAY_MS = 86_400_000
_SKEW = 1.2
_ROW_GROUP = 1 << 20


def write_log(folder: Path, events: int, candidates: int, largest_user: int = 0, seed: int = 0) -> IngestionConfig:
    """Writes a log of impressions and a catalogue as Parquet files.

    Users are as active as a Pareto distribution says, so that a few have thousands of requests; items are as popular as
    Zipf's law says. A request has one positive, or with a single candidate in half of the cases. Rows are in the order
    of time.

    Args:
        folder: that exists.
        events: rows of the log, a multiple of `candidates`.
        candidates: rows of a request, all of different items.
        largest_user: rows of one user beside the others' `events`.
        seed: of everything.

    Returns:
        How ingestion reads it.
    """
    draw = np.random.default_rng(seed)
    requests = events // candidates
    users = max(1, events // _EVENTS_PER_USER)
    user = np.minimum((draw.pareto(_SKEW, requests) * users / 20).astype(np.int64), users - 1)
    user = np.concatenate([user, np.full(largest_user // candidates, users)])
    requests = len(user)
    user = draw.permutation(user)
    begin = int(_BEGIN.timestamp() * 1000)
    # No two requests are of one moment: two of one user would be one request.
    place = np.arange(requests)
    time = begin + np.maximum.accumulate(np.sort(draw.integers(0, _DAYS * _DAY_MS, requests)) - place) + place
    # Candidates of a request come from blocks of their own, so that none is there twice.
    block = _ITEMS // candidates
    item = draw.zipf(1.3, (requests, candidates)) % block + block * np.arange(candidates)
    label = np.zeros((requests, candidates), np.int8)
    if candidates == 1:
        label[:, 0] = draw.integers(0, 2, requests)
    else:
        label[np.arange(requests), draw.integers(0, candidates, requests)] = 1
    table = {
        "user_id": pa.array(_names("u", np.repeat(user, candidates))),
        "item_id": pa.array(_names("i", item.ravel())),
        "timestamp": pa.array(np.repeat(time, candidates)),
        "label": pa.array(label.ravel()),
    }
    pq.write_table(pa.table(table), folder / "log.parquet", row_group_size=_ROW_GROUP)
    pq.write_table(pa.table({"item_id": _names("i", np.arange(_ITEMS))}), folder / "items.parquet")
    return IngestionConfig.model_validate(
        {
            "data": {
                "interactions": {"path": str(folder / "log.parquet"), "time_unit": "ms"},
                "items": {"path": str(folder / "items.parquet")},
            },
            "history": {"max_length": HISTORY},
            "split": {
                "dates": {
                    "eval_from": (_BEGIN + dt.timedelta(days=_EVAL_DAY)).isoformat(),
                    "test_from": (_BEGIN + dt.timedelta(days=_TEST_DAY)).isoformat(),
                }
            },
        }
    )


def _names(letter: str, numbers: np.ndarray) -> pa.Array:
    return pa.array(np.char.add(letter, numbers.astype(str)))
