"""`dmf bench attention`: what is timed is one function in several forms, and a form that is another is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dmf_keras.ops import decoupled_attention_reference
from tfx_pipeline.cli import main
from tfx_pipeline.errors import ModelError
from tfx_pipeline.studies.bench import attention
from tfx_pipeline.studies.bench.attention import (
    EARLY_FUSION,
    FACTORED,
    ID_ONLY,
    TEXTBOOK,
    TOLERANCE,
    attention_functions,
    bench_attention,
    decouple,
    largest_difference,
    model_functions,
)
from tfx_pipeline.studies.bench.attention_operations import attention_operations
from tfx_pipeline.studies.bench.timing import Timing

TINY = ("bench", "attention", "--candidates", "8", "--id-dim", "16", "--seconds", "0.05")
RATIOS = (
    "factored_vs_textbook",
    "factored_vs_early_fusion",
    "factored_vs_id_only",
    "model_vs_id_only",
    "model_vs_early_fusion",
)


@pytest.fixture
def wrong_tables(monkeypatch):
    """The factored form with a mistake: similarity weighs the history but is no part of its values."""

    def mistaken(fused, decoupled):
        decouple(fused, decoupled)
        [table] = decoupled.value_tables
        table.assign(np.zeros(table.shape))

    monkeypatch.setattr(attention, "decouple", mistaken)


def test_json_is_one_object_with_everything(capfd):
    assert main([*TINY, "--history", "3", "5", "--json"]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    report = json.loads(printed.out)
    assert [(entry["history"], entry["candidates"]) for entry in report["results"]] == [(3, 8), (5, 8)]
    for entry in report["results"]:
        assert all(math.isfinite(entry[ratio]) and entry[ratio] > 0 for ratio in RATIOS)
        assert 0 <= entry["max_abs_difference"] <= TOLERANCE
        alone, whole = entry["milliseconds"]["attention"], entry["milliseconds"]["model"]
        assert set(alone) == {ID_ONLY, FACTORED, TEXTBOOK, EARLY_FUSION}
        assert set(whole) == {ID_ONLY, FACTORED, EARLY_FUSION}
        assert all(0 < time["p10"] <= time["median"] <= time["p90"] for time in [*alone.values(), *whole.values()])
    assert report["setup"]["id_dim"] == 16
    assert report["machine"]["cpu"]
    assert report["machine"]["cores"] >= 1


def test_ratios_say_who_is_faster(monkeypatch):
    milliseconds = {ID_ONLY: 2.0, FACTORED: 5.0, TEXTBOOK: 50.0, EARLY_FUSION: 100.0}

    def known_times(functions, **_):
        return {name: Timing(milliseconds[name], 1.0, 100.0, 5) for name in functions}

    monkeypatch.setattr("tfx_pipeline.studies.bench.attention.interleaved", known_times)
    [entry] = bench_attention([3], candidates=8, id_dim=16, similarity_dim=4, seconds=1.0).results
    assert entry.factored_vs_textbook == entry.milliseconds["attention"][TEXTBOOK].median / 5 == 10
    assert (entry.factored_vs_early_fusion, entry.factored_vs_id_only) == (20, 2.5)
    assert (entry.model_vs_early_fusion, entry.model_vs_id_only) == (20, 2.5)


def test_a_reader_gets_a_table_and_a_sentence_per_length(capfd):
    assert main([*TINY, "--history", "3"]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    for word in ("id only", "factored", "textbook", "early fusion", "L = 3: attention", "TensorFlow"):
        assert word in printed.out


def test_operations_are_those_of_the_factored_form(capfd):
    assert main([*TINY, "--history", "3", "--operations"]) == 0
    printed = capfd.readouterr().out
    for word in ("q . k", "GatherNd", "DenseBincount", "also in ID-only", "all"):
        assert word in printed
    results = {name: operation().numpy() for name, operation in attention_operations(4, 3, 8, 5).items()}
    assert {name: result.shape for name, result in results.items()} == {
        "q . k": (1, 4, 3),
        "index of each pair's bucket": (12,),
        "look-up (GatherNd)": (1, 4, 3),
        "sum of logits and look-up": (1, 4, 3),
        "softmax": (1, 4, 3),
        "w . v": (1, 4, 8),
        "sum by bucket (DenseBincount)": (1, 4, 6),
    }
    np.testing.assert_allclose(results["sum by bucket (DenseBincount)"].sum(axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("functions_of", [attention_functions, model_functions])
def test_similarity_matters_to_what_is_compared(functions_of):
    # Were the tables zero, all forms would be ID-only target attention and their equality would say nothing.
    functions, difference = functions_of(8, 5, 16, 4)
    assert difference <= TOLERANCE
    assert np.max(np.abs(functions[FACTORED]() - functions[ID_ONLY]())) > 1000 * TOLERANCE


@pytest.mark.parametrize("functions_of", [attention_functions, model_functions])
def test_a_wrong_factored_form_is_not_timed(wrong_tables, functions_of):
    with pytest.raises(ModelError, match=r"factored and early_fusion are not the same function: outputs differ by"):
        functions_of(8, 5, 16, 4)


def test_a_wrong_textbook_form_is_not_timed(monkeypatch):
    def mistaken(*arguments):
        interest, weights = decoupled_attention_reference(*arguments)
        return interest * 1.001, weights

    monkeypatch.setattr(attention, "decoupled_attention_reference", mistaken)
    with pytest.raises(ModelError, match=r"factored and textbook are not the same .*, expected at most 1e-05"):
        attention_functions(8, 5, 16, 4)


def test_a_wrong_form_is_a_sentence_on_the_terminal(wrong_tables, capfd):
    assert main([*TINY, "--history", "3", "--json"]) == 1
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("stopped: factored and early_fusion are not the same function")
    assert "Traceback" not in printed.err


def test_values_that_are_no_numbers_are_not_equal():
    broken = np.array([1.0, np.nan])
    with pytest.raises(ModelError, match="one and other are not the same function: outputs differ by nan"):
        largest_difference({"one": lambda: broken, "other": lambda: broken})
    assert largest_difference({"one": lambda: np.ones(2), "other": lambda: np.ones(2) + 2e-6}) == pytest.approx(2e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("attention", "--history", "0"), "--history: must be a whole number of at least 1, got '0'"),
        (("attention", "--candidates", "2.5"), "--candidates: must be a whole number of at least 1, got '2.5'"),
        (("attention", "--seconds", "soon"), "--seconds: must be a number above 0, got 'soon'"),
        (("training", "--seconds", "inf"), "--seconds: must be a number above 0, got 'inf'"),
    ],
)
def test_impossible_sizes_are_refused(capsys, arguments, sentence):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", *arguments])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
