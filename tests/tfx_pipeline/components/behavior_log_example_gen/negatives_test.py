"""Logs of positives alone: negatives are drawn, checked and counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tfx_pipeline.components.behavior_log_example_gen import steps
from tfx_pipeline.data.examples.negatives import NegativePool, UserNegatives
from tfx_pipeline.errors import DataError, LeakageError

T0 = 1_600_000_000
DATES = {"eval_from": "2020-09-13T12:28:20Z", "test_from": "2020-09-13T12:29:10Z"}
POSITIVES = {"columns": {"label": None}}


def _log(users: int = 20) -> list[dict[str, Any]]:
    """Each user has an item every twenty seconds, ten times: five in train, two or three in eval, the rest in test."""
    return [
        {"user_id": f"u{user}", "item_id": f"i{(user * 7 + step) % 20}", "timestamp": T0 + 20 * step + user % 20}
        for user in range(users)
        for step in range(10)
    ]


@pytest.fixture
def config_of(make_config: Callable) -> Callable:
    """config_of(**negatives): of `_log`, in which every row is a positive."""

    def make(log: list[dict[str, Any]] | None = None, **negatives: Any) -> Any:
        return make_config(log or _log(), interactions=POSITIVES, split={"dates": DATES}, negatives=negatives)

    return make


def test_every_positive_gets_its_negatives(config_of: Callable, run: Callable) -> None:
    result = run(config_of(train=3, eval=6, test=8))
    asked = {"train": 3, "eval": 6, "test": 8}
    had: dict[bytes, set[bytes]] = {}
    for row in _log():
        had.setdefault(row["user_id"].encode(), set()).add(row["item_id"].encode())
    for split, examples in result.examples.items():
        for example in examples:
            labels, items = example["label"], example["candidate_item_id"]
            assert labels == [1] + [0] * asked[split] and len(set(items)) == len(items)
            if split == "test":
                assert had[example["user_id"][0]].isdisjoint(items[1:])
    report = result.report
    requests = {split: counts["requests"] for split, counts in report["splits"].items()}
    assert report["negatives"] == {split: requests[split] * count for split, count in asked.items()}
    assert report["rows_kept"] == report["rows_read"] == 200
    assert sum(counts["impressions"] - counts["positives"] for counts in report["splits"].values()) == sum(
        report["negatives"].values()
    )
    assert not any(report["audit"]["violations"].values())
    again = run(config_of(train=3, eval=6, test=8))
    assert again.examples == result.examples


def test_popularity_is_that_of_train_alone(config_of: Callable, run: Callable) -> None:
    log = [row for row in _log() if row["item_id"] != "i19"]
    # In train a single time; of test it is most.
    log += [{"user_id": "u1", "item_id": "i19", "timestamp": T0 + 3}]
    log += [{"user_id": f"late{n}", "item_id": "i19", "timestamp": T0 + 195} for n in range(100)]
    result = run(config_of(log, train=3, eval=1, test=3, by="popularity", power=1))
    drawn = [
        item for split in ("train", "eval") for row in result.examples[split] for item in row["candidate_item_id"][1:]
    ]
    assert len(drawn) > 300 and drawn.count(b"i19") / len(drawn) < 0.03


def test_a_table_of_negatives(config_of: Callable, run: Callable, tmp_path: Path) -> None:
    users = [f"u{user}" for user in range(20)]
    table = pd.DataFrame({"who": users, "others": [[f"x{user}", f"y{user}"] for user in range(20)]})
    table.to_parquet(tmp_path / "negatives.parquet")
    given = {"path": tmp_path / "negatives.parquet", "user_column": "who", "items_column": "others"}
    result = run(config_of(train=2, eval=2, test=given))
    for row in result.examples["test"]:
        number = row["user_id"][0][1:]
        assert row["candidate_item_id"][1:] == [b"x" + number, b"y" + number]
    # Text with spaces is as good.
    table.assign(others=table.others.str.join(" ")).to_csv(tmp_path / "negatives.csv", index=False)
    text = run(config_of(train=2, eval=2, test={**given, "path": tmp_path / "negatives.csv"}))
    assert text.examples == result.examples
    table.to_json(tmp_path / "negatives.jsonl", orient="records", lines=True)
    lines = run(config_of(train=2, eval=2, test={**given, "path": tmp_path / "negatives.jsonl"}))
    assert lines.examples == result.examples
    with (tmp_path / "negatives.jsonl").open("a") as file:
        file.write('{"who": "u1", "others": {"x": 1}}\n')
    with pytest.raises(DataError, match=r"negatives\.jsonl: row 21 is no row of a user and a list of items: .*"):
        run(config_of(train=2, eval=2, test={**given, "path": tmp_path / "negatives.jsonl"}))
    table[3:].to_parquet(tmp_path / "negatives.parquet")
    with pytest.raises(DataError, match=r"negatives\.test: \d+ requests have none, such as those of user u0, u1, u2;"):
        run(config_of(train=2, eval=2, test=given))
    with pytest.raises(DataError, match=r"negatives\.test: .*negatives\.parquet.*'whom'"):
        run(config_of(train=2, eval=2, test={**given, "user_column": "whom"}))


@pytest.mark.parametrize(
    ("negatives", "message"),
    [
        (
            {"train": 30},
            "negatives: 99 different items are to be drawn for a positive, but 20 items are in the catalogue",
        ),
        (
            {"eval": 5, "test": 25, "by": "popularity"},
            "25 different items .* but 20 of its items have positives in train",
        ),
    ],
)
def test_more_than_the_catalogue_has(config_of: Callable, run: Callable, negatives: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(config_of(**negatives))


def test_the_audit_finds_a_drawn_item_of_the_user(
    config_of: Callable, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careless(UserNegatives):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self._had = {split: set() for split in self._had}

    monkeypatch.setattr(steps, "UserNegatives", Careless)
    with pytest.raises(LeakageError, match=r"negative_of_the_user: \d+"):
        run(config_of(train=5, eval=5, test=5))


def test_weights_of_what_is_drawn_are_one(make_config: Callable, run: Callable) -> None:
    log = [{**row, "weight": 2.5} for row in _log()]
    columns = {"label": None, "weight": "weight"}
    negatives = {"train": 2, "eval": 2, "test": 2}
    config = make_config(log, interactions={"columns": columns}, split={"dates": DATES}, negatives=negatives)
    weights = [row["candidate_weight"] for rows in run(config).examples.values() for row in rows]
    assert np.unique(weights, axis=0).tolist() == [[2.5, 1, 1]]


def test_the_pool_does_not_hang_on_the_order_of_its_items() -> None:
    from tfx_pipeline.config.negatives import Negatives

    for by in ("uniform", "popularity"):
        one, other = (
            NegativePool.of(items, {b"a": 1, b"b": 5, b"c": 2}, Negatives(by=by))
            for items in ([b"a", b"b", b"c"], [b"c", b"a", b"b"])
        )
        assert one.items == other.items and np.array_equal(one.edges, other.edges)
