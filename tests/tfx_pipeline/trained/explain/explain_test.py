"""`dmf explain` on a really exported model: by its signature, by Keras, and by scores alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from serving import contract
from serving.export.metadata import read_json, write_json
from serving.export.servable import request_arrays
from tfx_pipeline.cli import main
from tfx_pipeline.console import Console
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.trained.explain.explanation import _history, explain, logits_of
from tfx_pipeline.trained.explain.report import Explanation, HistoryItem, Similarity
from tfx_pipeline.trained.explain.view import print_explanation
from tfx_pipeline.trained.user_state import UserSnapshot
from tfx_pipeline.trained.version import Known, Version

HISTORY = ["i1", "i4", "i5", "i38"]


@pytest.fixture(scope="module")
def signed(trained, tmp_path_factory) -> Path:
    """The exported model as version 7, with the signature `explain`."""
    version = tmp_path_factory.mktemp("signed") / "shop" / "7"
    shutil.copytree(trained / "Format-Serving", version)
    return version


@pytest.fixture(scope="module")
def unsigned(trained, tmp_path_factory) -> Path:
    """The same with a contract as if it had been exported without it."""
    version = tmp_path_factory.mktemp("unsigned") / "shop" / "7"
    shutil.copytree(trained / "Format-Serving", version)
    values = json.loads((version / contract.CONTRACT_FILE).read_text())
    del values["signatures"][contract.EXPLAIN]
    (version / contract.CONTRACT_FILE).write_text(json.dumps(values))
    return version


@pytest.fixture(scope="module")
def found(signed) -> Explanation:
    return explain(Version.find(signed.parent), "u1", "i2", history=HISTORY)


def by_item(found: Explanation) -> dict[str, HistoryItem]:
    return {entry.item: entry for entry in found.history}


def test_scores_are_those_of_the_exported_model_with_and_without_each_item(found, signed):
    version = Version(signed)
    with version.open() as servable:

        def score_of(history):
            request = {"user_id": "u1", "history_item_id": history, "candidate_item_id": ["i2"]}
            return servable.run(contract.RANK, request_arrays(request, version.contract))[contract.SCORE][0, 0]

        whole = score_of(HISTORY)
        without = {item: score_of([other for other in HISTORY if other != item]) for item in HISTORY}
    assert found.score == pytest.approx(whole, abs=1e-6)
    for item, entry in by_item(found).items():
        assert entry.score_without == pytest.approx(without[item], abs=1e-6)
        assert entry.effect == pytest.approx(logits_of(whole) - logits_of(without[item]), abs=1e-4)
    assert max(abs(entry.effect) for entry in found.history) > 1e-3


def test_parts_add_up_to_the_logit_of_the_score(found):
    assert {part.part for part in found.parts} == {"enriched", "centric", "history", "item", "user", "columns"}
    total = found.base_logit + sum(part.contribution for part in found.parts)
    assert total == pytest.approx(found.logit, abs=1e-4)
    assert found.logit == pytest.approx(logits_of(found.score), abs=1e-4)
    sizes = [abs(part.contribution) for part in found.parts]
    assert sizes == sorted(sizes, reverse=True)


def test_history_is_sorted_by_attention_and_ranked_both_ways(found):
    weights = [entry.weight for entry in found.history]
    assert found.weights == "attention"
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1, abs=1e-5)
    assert [entry.rank_by_weight for entry in found.history] == [1, 2, 3, 4]
    effects = sorted(found.history, key=lambda entry: -abs(entry.effect))
    assert [entry.rank_by_effect for entry in effects] == [1, 2, 3, 4]
    assert {item: entry.position for item, entry in by_item(found).items()} == dict(
        zip(HISTORY, (4, 3, 2, 1), strict=True)
    )
    # i38 has no content in either modality, the others have some in both.
    for item, entry in by_item(found).items():
        assert set(entry.similarity) == {"text", "image"}
        for pair in entry.similarity.values():
            assert (pair is None) == (item == "i38")
            assert pair is None or (-1 <= pair.cosine <= 1 and 0 <= pair.bucket < 9)


def test_a_weight_below_zero_counts_by_its_size():
    """DIN's are not normalised: an item may speak against the candidate."""
    told = {"activation": np.array([0.1, -0.9, 0.5, 0.0], np.float32)}
    entries = _history(told, ["a", "b", "c"], np.zeros(3), np.zeros(3), Known(UserSnapshot([], {}), {}, ""))
    assert [entry.rank_by_weight for entry in entries] == [3, 1, 2]
    assert entries[1].weight == pytest.approx(-0.9)


def test_keras_tells_what_the_signature_tells(found, unsigned):
    other = explain(Version(unsigned), "u1", "i2", history=HISTORY)
    assert (found.told_by, other.told_by) == ("signature", "keras")
    for key in ("score", "logit", "base_logit"):
        assert getattr(other, key) == pytest.approx(getattr(found, key), abs=1e-5)
    for ours, theirs in zip(other.parts, found.parts, strict=True):
        assert dataclasses.asdict(ours) == {
            key: pytest.approx(value, abs=1e-4) for key, value in dataclasses.asdict(theirs).items()
        }
    for item, entry in by_item(other).items():
        assert entry.weight == pytest.approx(by_item(found)[item].weight, abs=1e-5)
        assert entry.similarity == {
            modality: pair and Similarity(pytest.approx(pair.cosine, abs=1e-5), pair.bucket)
            for modality, pair in by_item(found)[item].similarity.items()
        }


def test_a_longer_history_than_the_model_uses_is_cut_first(signed, found):
    longer = explain(Version(signed), "u1", "i2", history=["i7", "i9", "", *HISTORY])
    assert len(longer.history) == len(HISTORY)
    for entry, expected in zip(longer.history, found.history, strict=True):
        assert entry.item == expected.item
        assert entry.score_without == pytest.approx(expected.score_without, abs=1e-6)


def test_without_signature_and_run_scores_are_left(unsigned, tmp_path):
    version = tmp_path / "7"
    shutil.copytree(unsigned, version)
    metadata = read_json(version, contract.METADATA_FILE)
    metadata["artifacts"]["model_run"] = "/gone/artifacts/Trainer/model_run/3"
    write_json(version, contract.METADATA_FILE, metadata)
    other = explain(Version(version), "u1", "i2", history=HISTORY)
    assert (other.told_by, other.parts, other.weights) == (None, [], None)
    assert [entry.rank_by_effect for entry in other.history] == [1, 2, 3, 4]
    (note,) = other.notes
    assert note.startswith("attention, similarities and parts are not known: the model was exported without serving")
    assert "give the run's output folder in --run" in note
    with pytest.raises(ModelError, match="is --run the output folder of that run"):
        explain(Version(version), "u1", "i2", history=HISTORY, run=tmp_path)


def test_an_unknown_candidate_and_an_empty_history_are_explained(signed):
    other = explain(Version(signed), "nobody", "never seen", history=[])
    assert other.history == []
    assert other.notes == [
        "user 'nobody' is unknown to the model: scored as any new user of this history, profile and context",
        "never seen is not in the catalogue: it is scored by the embedding that unknown items share, without content",
        "the history is empty: there are no items to weigh, and what is made of it says nothing",
    ]
    contributions = {part.part: part.contribution for part in other.parts}
    assert abs(contributions["enriched"]) < 1e-5 and abs(contributions["centric"]) < 1e-5
    assert abs(contributions["item"]) > 1e-4


def test_no_candidate_is_refused(signed):
    with pytest.raises(DataError, match="--candidate wants an item id, got an empty text"):
        explain(Version(signed), "u1", "")
    with pytest.raises(ModelError, match="holds no exported model"):
        explain(Version.find(signed / "assets"), "u1", "i2")


def test_the_tables_have_what_the_explanation_has(found, capsys):
    titled = dataclasses.replace(
        found,
        title="[red] kettle",
        notes=["something [of note]"],
        history=[
            dataclasses.replace(entry, title=f"title of {entry.item}", time="2025-03-25T12:30:00+00:00")
            for entry in found.history
        ],
    )
    print_explanation(titled, Console(width=180))
    printed = capsys.readouterr().out
    assert found.summary.split(";")[0] in printed
    assert "i2 ([red] kettle) for u1: logit" in printed
    for words in (
        "modality-enriched interest",
        "profile and context",
        "nothing known",
        "sum",
        "note: something [of note]",
    ):
        assert words in printed
    first = next(line for line in printed.splitlines() if line.startswith(f"│ {found.history[0].item} "))
    assert "2025-03-25 12:30" in first and "█" * 10 in first and f"{found.history[0].weight:.3f}" in first
    assert "no content" in next(line for line in printed.splitlines() if line.startswith("│ i38 "))


def test_a_narrow_terminal_has_fewer_columns_and_whole_numbers(found, capsys):
    print_explanation(found, Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("│ i")]
    assert max(map(len, rows)) <= 80
    for entry, row in zip(found.history, rows, strict=True):
        assert f" {entry.score_without:.4f} │ {entry.effect:+.3f} │" in row
        assert "…" not in row and "█" not in row


SHARED = "too few for an embedding of its own: it is scored by the embedding that unknown items share"


def test_the_command_prints_json(signed, capsys):
    # Shown in eval only, with content.
    asked = ["explain", "--model", str(signed), "--user", "u1", "--candidate", "i34", "--history", "i1,,i4", "--json"]
    assert main(asked) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["user"], printed["candidate"], printed["model"]) == ("u1", "i34", str(signed))
    history = {entry["item"]: entry for entry in printed["history"]}
    assert set(history) == {"i1", "i4"}
    assert printed["history_source"] == "given"
    assert printed["notes"] == [f"i34 has no impressions in train, {SHARED}, and by its own content"]
    assert history["i1"]["similarity"]["text"] is not None


def test_the_command_prints_tables(signed, capsys):
    # Shown in eval only, without content.
    asked = ["--model", str(signed.parent), "--user", "u1", "--candidate", "i38", "--history", ",".join(HISTORY)]
    status = main(["explain", *asked])
    printed = capsys.readouterr().out
    assert status == 0
    assert "history of 4 items (given)" in printed
    assert f"note: i38 has no impressions in train, {SHARED}, without content\n" in printed
    assert f"model: {signed}\n" in printed
