"""Scores of a log: each is what the model says of that row alone, with nothing but what was known before it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from serving import contract
from serving.export.servable import request_arrays
from tests.tfx_pipeline.trained.score.conftest import T0, once, rows_of
from tfx_pipeline.files import spill
from tfx_pipeline.trained.score import asking, reading
from tfx_pipeline.trained.version import Version

LATER = 30  # seconds after T0 at which the own log ends


def of(scores: pd.DataFrame, column: str) -> list:
    return scores[column].tolist()


def test_scores_are_those_of_rank_row_by_row(world):
    rows = rows_of(2, LATER, 40)
    report, scores = world.score(world.write("new.csv", rows))
    kept = once(rows)
    assert len(kept) < len(rows)
    for column, name in (("user_id", "user"), ("request_id", "session"), ("item_id", "item"), ("label", "clicked")):
        assert of(scores, column) == [row[name] for row in kept]
    assert of(scores, "time") == [pd.Timestamp(row["at"], unit="s", tz="UTC") for row in kept]
    assert scores["score"].dtype == np.float32
    np.testing.assert_allclose(scores["score"], world.expected(kept, also=once(world.own)), atol=1e-6)

    assert (report.rows_read, report.rows_kept, report.repeated) == (len(rows), len(kept), len(rows) - len(kept))
    assert (report.requests, report.quarantined, report.quarantine) == (40, {}, None)
    users = {row["user"] for row in rows}
    assert (report.users, report.users_without_profile) == (len(users), len(users & {"u0"}))
    assert report.rows_of_unknown_items == sum(int(row["item"][1:]) >= 40 for row in kept) > 0
    assert list(report.seconds) == ["load", "read", "score", "write"]
    assert not list(world.folder.rglob(".incoming-*"))


def test_nothing_of_after_a_request_reaches_it(world):
    rows = once(rows_of(2, LATER, 40))
    _, before = world.score(world.write("new.csv", rows))
    cut = T0 + LATER + 10
    turned = [{**row, "clicked": 1 - row["clicked"]} if row["at"] >= cut else row for row in rows]
    # What the model was trained on may have grown since, too.
    world.write("own/log.csv", [*world.own, *rows_of(9, LATER + 10, 30)])
    _, after = world.score(world.write("new.csv", turned))
    early = (before["time"] < pd.Timestamp(cut, unit="s", tz="UTC")).to_numpy()
    # An event of the first instant that differs is no history of that instant.
    known = (before["time"] <= pd.Timestamp(cut, unit="s", tz="UTC")).to_numpy()
    assert early.sum() < known.sum() < len(before)
    np.testing.assert_allclose(before["score"][known], after["score"][known], atol=1e-6)
    assert np.abs(before["score"] - after["score"]).max() > 1e-4


def test_rows_that_the_own_log_has_too_count_once(world):
    rows = once(world.own)
    _, whole = world.score(world.folder / "own" / "log.csv")
    np.testing.assert_allclose(whole["score"], world.expected(rows), atol=1e-6)
    # A copy, and its last rows alone: what was before them is known from the own log.
    _, copied = world.score(world.write("copy.parquet", world.own))
    report, last = world.score(world.write("last.jsonl", rows[-20:]))
    np.testing.assert_array_equal(whole["score"], copied["score"])
    np.testing.assert_allclose(last["score"], whole["score"][-20:], atol=1e-6)
    assert of(last, "item_id") == [row["item"] for row in rows[-20:]]
    assert (report.rows_kept, report.repeated) == (20, 0)


def test_a_log_without_labels_is_scored_by_the_own_log(world):
    rows = once(rows_of(2, LATER, 40))
    bare = [{name: value for name, value in row.items() if name != "clicked"} for row in rows]
    _, scores = world.score(world.write("new.csv", bare))
    assert "label" not in scores
    unclicked = [{**row, "clicked": 0} for row in rows]
    np.testing.assert_allclose(scores["score"], world.expected(unclicked, also=once(world.own)), atol=1e-6)


def test_of_several_files_some_may_lack_labels(world):
    rows = once(rows_of(2, LATER, 20))
    world.write("days/a.csv", rows[:10])
    world.write("days/b.csv", [{name: value for name, value in row.items() if name != "clicked"} for row in rows[10:]])
    _, scores = world.score(world.folder / "days")
    assert of(scores, "item_id") == [row["item"] for row in rows]
    assert of(scores["label"].isna(), slice(None)) == [False] * 10 + [True] * (len(rows) - 10)


def test_histories_may_be_of_all_that_was_shown(world):
    world.configure(history={"events": "all"})
    rows = once(rows_of(2, LATER, 20))
    _, scores = world.score(world.write("new.csv", rows))
    np.testing.assert_allclose(scores["score"], world.expected(rows, also=once(world.own), shown=True), atol=1e-6)


def test_without_request_ids_a_request_is_a_moment(world):
    interactions = json.loads((world.model / "assets.extra/logs.json").read_text())["data"]["interactions"]
    interactions["columns"].pop("request")
    world.configure(data={"interactions": interactions})
    rows = [{**row, "at": row["at"] + n} for n, row in enumerate(once(rows_of(2, LATER, 20)))]
    report, scores = world.score(world.write("new.csv", rows))
    assert report.requests == len(rows)
    assert scores["request_id"].isna().all()
    np.testing.assert_allclose(scores["score"], world.expected(rows, also=once(world.own)), atol=1e-6)


def test_parts_and_calls_change_nothing(world, monkeypatch):
    log = world.write("new.csv", rows_of(2, LATER, 40))
    _, at_once = world.score(log)
    monkeypatch.setattr(reading, "_BYTES_A_PART", 10)
    monkeypatch.setattr(asking, "_CANDIDATES", 5)
    monkeypatch.setattr(asking, "_CALLS_AHEAD", 2)
    assert reading.Sources.of(Version(world.model), log).parts == spill.MAX_PARTS
    for batch in (1, 3):
        _, in_parts = world.score(log, batch=batch)
        pd.testing.assert_frame_equal(at_once.drop(columns="score"), in_parts.drop(columns="score"))
        np.testing.assert_allclose(at_once["score"], in_parts["score"], atol=1e-6)


def test_rows_that_cannot_be_used_are_set_aside_and_counted(world):
    rows = once(rows_of(2, LATER, 20))
    bad = [{**rows[3], "item": ""}, {**rows[5], "at": "soon"}, {**rows[7], "clicked": 2}, {**rows[9], "at": -5}]
    mixed = [*rows[:4], *bad, *rows[4:]]
    report, scores = world.score(world.write("new.csv", mixed))
    _, clean = world.score(world.write("clean.csv", rows))
    pd.testing.assert_frame_equal(scores, clean)
    assert report.quarantined == {"null_item": 1, "bad_time": 1, "bad_label": 1, "negative_time": 1}
    assert report.rows_read == report.rows_kept + sum(report.quarantined.values()) + report.repeated
    # That of the log with nothing to set aside has removed it.
    assert not (world.folder / "out/scores.quarantine.jsonl").exists()
    report, _ = world.score(world.folder / "new.csv")
    lines = [json.loads(line) for line in (world.folder / "out/scores.quarantine.jsonl").read_text().splitlines()]
    assert report.quarantine == str(world.folder / "out/scores.quarantine.jsonl")
    assert [(line["row"], line["reason"]) for line in lines] == [
        (5, "null_item"),
        (6, "bad_time"),
        (7, "bad_label"),
        (8, "negative_time"),
    ]


def test_a_request_does_not_go_over_a_cut_of_the_models_splits(world):
    """As ingestion divides them, or the test split's own requests would be others."""
    session = {"user": "u1", "session": "long", "income": 1.0}
    first, second = ({**session, "item": f"i{n}", "clicked": 1, "at": T0 + 100 + n} for n in range(2))
    metadata = world.model / "assets.extra/metadata.json"
    log = world.write("new.csv", [first, second])
    report, whole = world.score(log)
    assert report.requests == 1
    values = json.loads(metadata.read_text())
    cut = pd.Timestamp(second["at"], unit="s", tz="UTC").isoformat()
    values["data"]["cuts"] = {"eval_from": cut, "test_from": "2030-01-01T00:00:00Z"}
    metadata.write_text(json.dumps(values))
    report, divided = world.score(log)
    assert report.requests == 2
    assert divided["score"][0] == pytest.approx(whole["score"][0], abs=1e-6)
    assert divided["score"][1] != pytest.approx(whole["score"][1], abs=1e-6)


def test_the_command_prints_what_became_of_the_log(world, capsys):
    from tfx_pipeline.cli import main

    log, output = world.write("new.csv", rows_of(2, LATER, 10)), world.folder / "new" / "scores.parquet"
    arguments = ["score", str(log), "--model", str(world.model.parent), "-o", str(output), "--batch", "4"]
    assert main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert (told["output"], told["requests"], told["model"]) == (str(output), 10, str(world.model))
    first = output.read_bytes()
    assert main(arguments) == 0
    assert "10, " in capsys.readouterr().out
    assert output.read_bytes() == first
    shutil.rmtree(output.parent)


def _as_lists(rows: list[dict], labels: bool = True) -> list[dict]:
    """Requests of rows as rows, each with pairs and a given history of its own."""
    requests: dict[str, dict] = {}
    for row in rows:
        shown = requests.setdefault(row["session"], {**row, "item": [], "past": ["i1", f"i{len(requests) % 40}"]})
        shown["item"].append(f"{row['item']}-{row['clicked']}" if labels else row["item"])
    made = [{**row, "item": " ".join(row["item"]), "past": " ".join(row["past"])} for row in requests.values()]
    return [{name: value for name, value in row.items() if name != "clicked"} for row in made]


def _read_lists(world) -> None:
    columns = {"user": "user", "item": "item", "time": "at", "request": "session"}
    history = {"column": "past", "separator": " "}
    pairs = {"separator": " ", "label_separator": "-"}
    log = {
        "path": str(world.write("lists/log.csv", _as_lists(world.own))),
        "columns": {**columns, "history": history},
        "impressions": pairs,
    }
    world.configure(data={"interactions": log})


def test_lists_and_given_histories_are_scored_as_the_log_gives_them(world):
    _read_lists(world)
    rows = once(rows_of(2, LATER, 40))
    lists = _as_lists(rows)
    report, scores = world.score(world.write("new.csv", lists))
    assert of(scores, "item_id") == [row["item"] for row in rows]
    assert of(scores, "label") == [row["clicked"] for row in rows]
    assert (report.rows_read, report.impressions_read, report.rows_kept) == (40, len(rows), len(rows))
    assert report.requests == 40 and report.requests_without_history == 0
    profiles = {row["user"]: row for row in world.users}
    past = {row["session"]: row["past"].split() for row in lists}
    with Version(world.model).load() as servable:
        for row, score in list(zip(rows, of(scores, "score"), strict=True))[::7]:
            profile = profiles.get(row["user"], {})
            request = {
                contract.USER_ID: row["user"],
                contract.HISTORY_ITEM_ID: past[row["session"]],
                contract.CANDIDATE_ITEM_ID: [row["item"]],
                "income": row["income"],
                **{name: profile.get(name) for name in ("age", "gender")},
            }
            arrays = request_arrays(request, Version(world.model).contract)
            assert servable.run(contract.RANK, arrays)[contract.SCORE][0, 0] == pytest.approx(score, abs=1e-6)


def test_lists_without_labels_are_scored_alike(world):
    _read_lists(world)
    rows = once(rows_of(2, LATER, 40))
    _, labelled = world.score(world.write("new.csv", _as_lists(rows)))
    report, scores = world.score(world.write("new.csv", _as_lists(rows, labels=False)))
    assert list(scores) == ["user_id", "request_id", "item_id", "score", "time"] and report.quarantined == {}
    pd.testing.assert_frame_equal(scores, labelled.drop(columns="label"))
    # Where one of the first has a label, all must.
    mixed = [*_as_lists(rows)[:-1], *_as_lists(rows, labels=False)[-1:]]
    report, _ = world.score(world.write("new.csv", mixed))
    assert report.quarantined == {"bad_label": 1}


def test_no_request_goes_over_train_from(world):
    dates = {"eval_from": "2023-11-14T22:13:40", "test_from": "2023-11-14T22:13:45"}
    world.configure(split={"fractions": None, "dates": dates, "train_from": "2023-11-14T22:13:25"})
    sources = reading.Sources.of(Version(world.model), world.write("new.csv", rows_of(2, LATER, 1)))
    assert [(time // 10**6) - T0 for time in sources.cut_times] == [5, 20, 25]
