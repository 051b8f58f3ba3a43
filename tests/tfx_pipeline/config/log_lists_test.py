from __future__ import annotations

from pathlib import Path

import pytest

from tfx_pipeline.config import load_config
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.errors import ConfigError

FILE = Path(__file__).resolve().parents[3] / "pipeline_config.yaml"
LOG = "data.interactions"


def _load(*overrides: str) -> PipelineConfig:
    return load_config(FILE, [f"{LOG}.columns.request=null", *overrides])


def test_without_the_keys_nothing_new_is_recorded() -> None:
    text = IngestionConfig.of(load_config(FILE)).to_json()
    assert not [word for word in ("impressions", "train_from", '"history": {"column') if word in text]


def test_the_columns_that_are_read() -> None:
    plain = _load().data.interactions
    assert plain.given == ["user_id", "item_id", "time", "clicked"] and not plain.list_columns
    history = f"{LOG}.columns.history={{column: past, times: when}}"
    pairs = _load(f"{LOG}.impressions={{separator: ' ', label_separator: '-'}}", history).data.interactions
    assert pairs.given == ["user_id", "item_id", "time", "past", "when"]
    assert pairs.of_impressions == ["item_id"] and pairs.list_columns == {"past", "when"}
    lists = _load(f"{LOG}.impressions={{}}", f"{LOG}.columns.weight=w").data.interactions
    assert lists.list_columns == {"item_id", "clicked", "w"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([f"{LOG}.impressions={{separator: '--', label_separator: '-'}}"], "label_separator '-' stands in separator"),
        ([f"{LOG}.impressions.separator=''"], "separator: should have at least 1 character"),
        ([f"{LOG}.columns.history={{separator: ' '}}"], "history.column: required, but absent"),
        ([f"{LOG}.columns.history={{column: h, order: up}}"], "order: should be 'oldest_first' or 'newest_first'"),
        ([f"{LOG}.columns.history={{column: h}}", "history.events=all"], "history.events: 'all' says what"),
        ([f"{LOG}.columns.history={{column: h}}", "history.delay_s=5"], "history.delay_s: 5 cannot be applied"),
        (
            [f"{LOG}.columns.history={{column: h, times: t, separator: ' '}}", f"{LOG}.time_unit='%Y-%m-%d %H:%M'"],
            "columns.history.separator is ' ', which times",
        ),
        ([f"{LOG}.time_unit='%Y-%m-%d %H:%M:%S.%f'"], "knows %Y .*, not %f"),
        ([f"{LOG}.time_unit='%Y-%m %H'"], r"a format of times needs a day \(%d\)"),
        ([f"{LOG}.time_unit='%Y-%m-%d %I:%M'"], "%I .* and %p .* together"),
        ([f"{LOG}.time_unit='%Y-%m-%d %'"], "knows"),
        (
            ["split={dates: {eval_from: 2025-01-01, test_from: 2025-02-01}, train_from: 2025-01-01}"],
            "train_from .* must be before eval_from",
        ),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _load(*overrides)
