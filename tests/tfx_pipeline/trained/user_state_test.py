"""A user's present state out of the logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.trained.user_state import UserSnapshot, user_snapshot

LOG = """user_id,item_id,timestamp,label
u1,c,1700000300,1
u1,a,1700000100,1
u2,z,1700000150,1
u1,b,1700000200,1
u1,x,1700000250,0
"""


@pytest.fixture
def config(tmp_path: Path) -> IngestionConfig:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text("item_id\na\nb\nc\nx\nz\n")
    tables = {"interactions": {"path": str(tmp_path / "log.csv")}, "items": {"path": str(tmp_path / "items.csv")}}
    return IngestionConfig.model_validate({"data": tables, "history": {"max_length": 2}, "split": {"fractions": {}}})


def test_history_is_the_last_positives_with_their_times(config):
    times = [1_700_000_200_000_000, 1_700_000_300_000_000]
    # A history is cut to its last items, what was clicked is not.
    assert user_snapshot(config, "u1") == UserSnapshot(["b", "c"], {}, times, frozenset("abc"))


def test_history_may_be_of_all_that_was_shown(config):
    history = config.history.model_copy(update={"events": "all"})
    shown = user_snapshot(config.model_copy(update={"history": history}), "u1")
    times = [1_700_000_250_000_000, 1_700_000_300_000_000]
    assert shown == UserSnapshot(["x", "c"], {}, times, frozenset("abc"))


def test_an_unknown_user_has_nothing(config):
    assert user_snapshot(config, "nobody") == UserSnapshot([], {}, [], frozenset())


NEWS = """u1,1700000300,c b,x-1 y-0
u2,1700000300,,y-1
u1,1700000100,,b-1
u1,1700000200,b,c-1 y-0
"""


def _news(tmp_path: Path, text: str, **history: str) -> IngestionConfig:
    (tmp_path / "log.csv").write_text(text)
    columns = {"item": "shown", "history": {"column": "history", "separator": " ", "order": "newest_first", **history}}
    log = {
        "path": str(tmp_path / "log.csv"),
        "header": ["user_id", "timestamp", "history", "shown", *(["times"] if history else [])],
        "columns": columns,
        "impressions": {"separator": " ", "label_separator": "-"},
    }
    (tmp_path / "items.csv").write_text("item_id\na\nb\nc\nx\n")
    tables = {"interactions": log, "items": {"path": str(tmp_path / "items.csv")}}
    return IngestionConfig.model_validate({"data": tables, "split": {"fractions": {}}})


def test_a_given_history_is_that_of_the_last_row(tmp_path: Path) -> None:
    config = _news(tmp_path, NEWS)
    assert user_snapshot(config, "u1") == UserSnapshot(["b", "c"], {}, [], frozenset("bcx"))
    assert user_snapshot(config, "u2") == UserSnapshot([], {}, [], frozenset("y"))
    assert user_snapshot(config, "nobody") == UserSnapshot([], {}, [], frozenset())


def test_a_given_history_with_times_has_them(tmp_path: Path) -> None:
    config = _news(tmp_path, "u1,1700000300,z c b,x-1,1700000300 1700000200 1700000100\n", times="times")
    times = [1_700_000_100_000_000, 1_700_000_200_000_000]
    assert user_snapshot(config, "u1") == UserSnapshot(["b", "c"], {}, times, frozenset("bcxz"))
