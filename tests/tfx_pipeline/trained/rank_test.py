"""`rank` on a really exported model: its answers, and sentences where a model is broken."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from serving import contract
from tfx_pipeline.cli import main
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.trained.rank import print_ranking, rank
from tfx_pipeline.trained.version import Version


@pytest.fixture
def model(trained, tmp_path) -> Path:
    """A copy of the exported model as version 7 of a served model."""
    version = tmp_path / "shop" / "7"
    shutil.copytree(trained / "Format-Serving", version)
    return version


def test_candidates_are_ranked_best_first_and_each_once(model):
    ranked = rank(
        Version.find(model.parent), "u1", candidates=["i2", "i1", "never seen", "i2", ""], history=["i1", "i3"]
    )
    entries = ranked.ranking
    assert sorted(entry.item for entry in entries) == ["i1", "i2", "never seen"]
    scores = [entry.score for entry in entries]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    facts = {entry.item: (entry.train_impressions > 0, entry.has_content) for entry in entries}
    assert facts == {"i1": (True, True), "i2": (True, True), "never seen": (False, False)}
    assert (ranked.model, ranked.history, ranked.history_source) == (str(model), ["i1", "i3"], "given")
    # The logs that this model was trained on are nowhere: an answer all the same, and the reason is said.
    assert rank(Version(model), "u1", candidates=["i1"]).history_source.startswith("none: the logs are not here")


def test_top_ranks_the_whole_catalogue(model):
    everything = rank(Version(model), "u1", top=1000, history=[]).ranking
    assert {entry.item for entry in everything} == {f"i{number}" for number in range(40)}
    best = rank(Version(model), "u1", top=3, history=[]).ranking
    assert best == everything[:3]
    np.testing.assert_array_less([entry.score for entry in everything[3:]], best[-1].score + 1e-9)


def no_scores(version, request):
    """A scorer that spares the loading of the model."""
    return {contract.SCORE: np.zeros(len(request[contract.CANDIDATE_ITEM_ID]))}


def test_a_user_whom_the_model_does_not_know_is_said_and_ranked_all_the_same(model):
    unknown, known = (
        rank(Version(model), user, candidates=["i1", "i2"], history=["i3"], scorer=no_scores)
        for user in ("NOSUCH", "u1")
    )
    assert known.notes == []
    assert unknown.notes == [
        "user 'NOSUCH' is unknown to the model: scored as any new user of this history, profile and context"
    ]
    assert [entry.item for entry in unknown.ranking] == ["i1", "i2"]
    assert unknown.to_json()["notes"] == unknown.notes
    out = Console(width=160, record=True, file=io.StringIO())
    print_ranking(unknown, out)
    assert unknown.notes[0] in out.export_text()


def test_of_a_model_that_knows_no_user_by_id_nobody_is_unknown(model):
    (model / "assets" / "users").unlink()
    assert Version(model).notes_on_user("NOSUCH") == []


def test_ids_that_begin_with_a_dash_are_ids(model, capsys):
    arguments = ["--model", str(model), "--user", "-u", "--candidates", "-5,-6", "--history", "-1,-2", "--json"]
    assert main(["rank", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["user"], found["history"]) == ("-u", ["-1", "-2"])
    assert sorted(entry["item"] for entry in found["ranking"]) == ["-5", "-6"]


@pytest.mark.parametrize("arguments", [{"top": 0}, {"top": -3}, {"candidates": []}, {"candidates": ["", ""]}])
def test_nothing_to_rank_is_refused(model, arguments):
    with pytest.raises(DataError, match=r"--top wants a whole number of at least 1, got|no candidates to rank"):
        rank(Version(model), "u1", **arguments)


def _lose(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _garble(path: Path) -> None:
    path.write_bytes(b"no model \xff\x00" * 20)


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("variables", _lose),
        ("variables/variables.index", _garble),
        ("saved_model.pb", _garble),
        (contract.CONTRACT_FILE, _lose),
        (contract.CONTRACT_FILE, _garble),
        ("assets.extra/item_facts.parquet", _lose),
        ("assets.extra/item_facts.parquet", _garble),
    ],
)
def test_a_broken_model_is_refused_in_a_sentence(model, part, damage):
    damage(model / part)
    with pytest.raises(ModelError, match=str(model)):
        rank(Version(model), "u1", candidates=["i1"], history=[])


def test_a_contract_of_another_kind_is_refused(model):
    (model / contract.CONTRACT_FILE).write_text(json.dumps({"signatures": {}, "version": 9}))
    with pytest.raises(ModelError, match="cannot be loaded as a ranking model"):
        rank(Version(model), "u1", candidates=["i1"], history=[])
