"""Labels of objectives beside the main one, beside scores."""

from __future__ import annotations

import json

import pytest

from serving import contract
from tests.tfx_pipeline.trained.score.conftest import once, rows_of

LATER = 30
LABELS = {"buy": {"column": "bought", "given": "clicked"}, "like": {"column": "liked", "given": None}}


@pytest.fixture
def funnel(world):
    """The world with two more labels in its own log."""
    file = world.model / contract.LOGS_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "labels": LABELS}))
    world.write("own/log.csv", _labelled(world.own))
    return world


def _labelled(rows):
    return [
        {**row, "bought": int(row["clicked"] and number % 2 == 0), "liked": int(number % 3 == 0)}
        for number, row in enumerate(rows)
    ]


def _without(rows, *names):
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def test_they_stand_beside_the_main_one_and_move_no_score(world, funnel):
    rows = _labelled(once(rows_of(2, LATER, 40)))
    report, scores = funnel.score(funnel.write("new.csv", rows))
    assert list(scores)[-4:] == ["time", "label", "label/buy", "label/like"]
    assert {str(scores[name].dtype) for name in list(scores)[-3:]} == {"int8"}
    for name, column in (("label", "clicked"), ("label/buy", "bought"), ("label/like", "liked")):
        assert scores[name].tolist() == [row[column] for row in rows]
    assert report.quarantined == {} and 0 < scores["label/buy"].sum() < scores["label"].sum()
    _, bare = funnel.score(funnel.write("new.csv", _without(rows, "bought", "liked")))
    assert list(bare)[-2:] == ["time", "label"]
    assert bare["score"].tolist() == scores["score"].tolist()


def test_a_candidate_is_positive_if_one_of_its_rows_is(funnel):
    (row,) = _labelled(once(rows_of(2, LATER, 1))[:1])
    row |= {"clicked": 1, "bought": 0, "liked": 0}
    rows = [row, {**row, "at": row["at"] + 1, "bought": 1}, {**row, "at": row["at"] + 2, "liked": 1, "clicked": 0}]
    report, scores = funnel.score(funnel.write("new.csv", rows))
    assert report.repeated == 2
    assert scores[["label", "label/buy", "label/like"]].values.tolist() == [[1, 1, 1]]


def test_files_may_lack_some(funnel):
    rows = _labelled(once(rows_of(2, LATER, 30)))
    parts = rows[:10], _without(rows[10:20], "liked"), _without(rows[20:30], "clicked")
    for number, part in enumerate(parts):
        funnel.write(f"days/{number}.csv", part)
    _, scores = funnel.score(funnel.folder / "days")
    known = {name: (~scores[name].isna()).tolist() for name in ("label", "label/buy", "label/like")}
    # Of a file without the main label the others are not read: what they are given is not known.
    assert known == {
        "label": [True] * 20 + [False] * 10,
        "label/buy": [True] * 20 + [False] * 10,
        "label/like": [True] * 10 + [False] * 20,
    }
    assert scores["label/buy"].tolist()[:20] == [row["bought"] for row in rows[:20]]


def test_bad_ones_are_quarantined_as_in_ingestion(funnel):
    rows = _labelled(once(rows_of(2, LATER, 30)))
    unclicked = [number for number, row in enumerate(rows) if not row["clicked"]]
    rows[unclicked[0]]["bought"] = 1
    rows[unclicked[1]]["liked"] = "perhaps"
    report, scores = funnel.score(funnel.write("new.csv", rows))
    assert report.quarantined == {"label_without_condition": 1, "bad_label": 1}
    assert len(scores) == len(rows) - 2
