"""Runs that must not be published: why they stop, and what they leave for the user."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.data.examples import assembly
from tfx_pipeline.data.examples.splits import Cuts
from tfx_pipeline.errors import DataError, LeakageError

T0 = 1_600_000_000
DATES = {"eval_from": "2020-09-13T12:28:20Z", "test_from": "2020-09-13T12:29:10Z"}


def _log(**changes: Any) -> list[dict[str, Any]]:
    """Two users, an impression each second for 200 s; every third is positive."""
    return [
        {"user_id": f"u{n % 2}", "item_id": f"i{n % 9}", "timestamp": T0 + n, "label": int(n % 3 == 0), **changes}
        for n in range(200)
    ]


def test_a_wrong_time_unit_is_explained(make_config: Callable, run: Callable, tmp_path: Path) -> None:
    config = make_config(_log(), interactions={"time_unit": "ms"})
    with pytest.raises(DataError, match=r"200 of 200 rows.*\ntime_out_of_range 200") as error:
        run(config)
    message = str(error.value)
    assert f'such as "{T0}" in row 1 of ' in message and "data.interactions.time_unit is 'ms'" in message
    assert message.endswith(f"Report and quarantined rows: {tmp_path / 'failure'}")
    quarantine = (tmp_path / "failure/quarantine.jsonl").read_text().splitlines()
    assert len(quarantine) == 200
    assert json.loads(quarantine[0])["reason"] == "time_out_of_range"
    assert json.loads((tmp_path / "failure/report.json").read_text())["quarantined"]["time_out_of_range"] == 200


def test_too_many_bad_rows_stop_the_run(make_config: Callable, run: Callable) -> None:
    rows = _log()
    for row in rows[:3]:
        row["label"] = 5
    with pytest.raises(DataError, match=r"3 of 200 rows .*\(1\.50%\).*max_bad_fraction = 0\.01.*\nbad_label 3"):
        run(make_config(rows))
    assert run(make_config(rows, data={"max_bad_fraction": 0.015})).report["quarantined"]["bad_label"] == 3


def test_an_empty_split_is_named_with_its_dates(make_config: Callable, run: Callable) -> None:
    dates = DATES | {"test_from": "2020-09-14"}
    message = (
        r"split 'test' \(from 2020-09-14T00:00:00Z, UTC\) is empty; impressions by split: train 100, eval 100, test 0"
    )
    with pytest.raises(DataError, match=message):
        run(make_config(_log(), split={"dates": dates}))


def test_a_split_of_one_label_class_is_named(make_config: Callable, run: Callable) -> None:
    rows = _log()
    for row in rows[100:150]:
        row["label"] = 0
    message = (
        r"split 'eval' \(from 2020-09-13T12:28:20Z before 2020-09-13T12:29:10Z, UTC\) holds one label class \(0 of 50"
    )
    with pytest.raises(DataError, match=message):
        run(make_config(rows, split={"dates": DATES}))


@pytest.mark.parametrize("split", [{"dates": DATES}, {"fractions": {}}])
def test_a_log_of_one_label_class_is_said_to_be_so_and_no_split_is_blamed(
    make_config: Callable, run: Callable, split: dict
) -> None:
    with pytest.raises(
        DataError, match=r"the log has positives only: all 200 impressions of .*log\.jsonl have"
    ) as error:
        run(make_config(_log(label=1), split=split))
    assert "log what was shown and not clicked too, with label 0" in str(error.value)
    assert "Choose other dates" not in str(error.value)
    with pytest.raises(
        DataError, match=r"the log has no positives: .*is 'label' \(data\.interactions\.columns\.label\)"
    ):
        run(make_config(_log(label=0), split=split))


def test_missing_columns_stop_before_any_work(make_config: Callable, run: Callable, tmp_path: Path) -> None:
    config = make_config(_log(), interactions={"columns": {"time": "when"}})
    with pytest.raises(DataError, match=r"log\.jsonl: no column 'when'"):
        run(config)
    assert not list(tmp_path.glob("run*"))


def test_damage_inside_a_file_stops_the_run(make_config: Callable, run: Callable, tmp_path: Path) -> None:
    rows = [{**row, "item_id": f"i{n} {n * 7919}"} for n, row in enumerate(_log() * 20)]
    config = make_config(_log(), "parquet", split={"dates": DATES})
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, compression="snappy", use_dictionary=False)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3 : len(damaged) // 2] = b"\xff" * (len(damaged) // 2 - len(damaged) // 3)
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"log\.parquet: damaged parquet file"):
        run(config)


# Items of a history, and when their events were.
Known = tuple[list[bytes], list[int]]


def _those(times: list, items: list, there: Callable) -> Known:
    kept = [place for place, at in enumerate(times) if there(at)]
    return [items[place] for place in kept], [times[place] for place in kept]


def _sees_the_present(times: list, items: list, requests: list, length: int, delay: int) -> Iterator[Known]:
    for time in requests:
        known, when = _those(times, items, lambda at, time=time: at <= time)
        yield known[-length:], when[-length:]


def _sees_the_future(times: list, items: list, requests: list, length: int, delay: int) -> Iterator[Known]:
    for _ in requests:
        yield items[-length:], times[-length:]


def _keeps_the_oldest(times: list, items: list, requests: list, length: int, delay: int) -> Iterator[Known]:
    for time in requests:
        known, when = _those(times, items, lambda at, time=time: at < time)
        yield known[:length], when[:length]


def _keeps_everything(times: list, items: list, requests: list, length: int, delay: int) -> Iterator[Known]:
    for time in requests:
        yield _those(times, items, lambda at, time=time: at < time)


@pytest.mark.parametrize(
    ("broken", "rules"),
    [
        (_sees_the_present, {"history_not_before_request"}),
        (_sees_the_future, {"history_not_before_request", "history_from_later_split"}),
        (_keeps_the_oldest, {"history_not_most_recent"}),
        (_keeps_everything, {"history_not_most_recent", "history_too_long"}),
    ],
)
def test_a_broken_builder_fails_the_run(
    make_config: Callable, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable, rules: set
) -> None:
    """The builder itself is broken here; the audit must notice on its own."""
    monkeypatch.setattr(assembly, "histories", broken)
    # Every positive is another item, so that a wrong history cannot look right.
    rows = [{**row, "item_id": f"i{n}"} for n, row in enumerate(_log())]
    config = make_config(rows, split={"dates": DATES}, history={"max_length": 5})
    with pytest.raises(LeakageError, match=r"audit of 200 requests found violations; nothing was published") as error:
        run(config)
    violations = json.loads((tmp_path / "failure/report.json").read_text())["audit"]["violations"]
    assert rules <= {rule for rule, count in violations.items() if count}
    assert not {"candidate_label_mismatch", "request_in_wrong_split"} & {r for r, count in violations.items() if count}
    for rule in rules:
        assert f"{rule}: {violations[rule]}" in str(error.value)


def test_a_broken_split_fails_the_run(
    make_config: Callable, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Cuts.split_of
    # Ten seconds of test go to train.
    monkeypatch.setattr(
        Cuts, "split_of", lambda cuts, t: "train" if t // 10**6 - T0 in range(160, 170) else honest(cuts, t)
    )
    with pytest.raises(LeakageError, match="request_in_wrong_split: 10 "):
        run(make_config(_log(), split={"dates": DATES}))


def test_a_leak_can_be_reported_without_stopping(
    make_config: Callable, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "histories", _sees_the_future)
    result = run(make_config(_log(), split={"dates": DATES}, data={"fail_on_leakage": False}))
    assert result.report["audit"]["violations"]["history_not_before_request"] > 0


@pytest.mark.parametrize(
    ("write", "differ"),
    [
        (lambda item: f"{item[1:]}.0", "a trailing .0"),
        (lambda item: item[1:].zfill(3), "leading zeros"),
        (lambda item: f" {item[1:]} ", "spaces around them"),
    ],
)
def test_a_log_whose_items_the_catalogue_lacks_is_refused(
    make_config: Callable, run: Callable, write: Callable, differ: str
) -> None:
    config = make_config([{**row, "item_id": write(row["item_id"])} for row in _log()])
    pd.DataFrame({"item_id": range(20)}).to_csv(config.data.items.path, index=False)
    with pytest.raises(
        DataError, match=rf"200 of 200 impressions .* data\.max_unknown_items = 0\.5 .*differ by {differ}"
    ):
        run(config)


def test_users_without_profiles_are_refused_by_share(make_config: Callable, run: Callable) -> None:
    users = [{"user_id": user, "age": 3} for user in ("U0", "U1")]
    config = make_config(_log(), users=users, profile={"age": "numeric"})
    message = (
        r'2 of 2 users .*the log has "u0" and "u1", the user table has "U0" and "U1"; they differ by upper and lower'
    )
    with pytest.raises(DataError, match=message):
        run(config)
    users[0]["user_id"] = "u0"
    report = run(make_config(_log(), users=users, profile={"age": "numeric"})).report
    assert report["users_without_profile"] == 1
    assert report["tables"]["users"]["rows"] == 2 and report["tables"]["interactions"]["rows"] == 200


def test_a_feature_may_have_another_name_than_its_column(make_config: Callable, run: Callable) -> None:
    rows = [{**row, "time of day ": n % 3} for n, row in enumerate(_log())]
    users = [{"user_id": user, "new_user_class_level ": "a"} for user in ("u0", "u1")]
    columns = {"moment": "time of day ", "level": "new_user_class_level "}
    config = make_config(
        rows, users=users, columns=columns, profile={"level": "categorical"}, context={"moment": "numeric"}
    )
    example = run(config).examples["train"][0]
    assert example["level"] == [b"a"] and example["moment"][0] in (0.0, 1.0, 2.0)
