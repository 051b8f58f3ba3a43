"""The sentence that sums an explanation up."""

from __future__ import annotations

import pytest

from tfx_pipeline.trained.explain.summary import summary_of


def test_even_attention_is_called_so():
    even = [
        {**entry, "weight": weight} for entry, weight in zip(_found()["history"], (0.3, 0.25, 0.25, 0.2), strict=True)
    ]
    assert "2 of 4 history items hold half of the attention, which is spread almost evenly;" in summary_of(
        _found(history=even)
    )


def _found(**changed):
    history = [
        {
            "item": item,
            "weight": weight,
            "rank_by_weight": by_weight,
            "rank_by_effect": by_effect,
            "score_without": score,
        }
        for item, weight, by_weight, by_effect, score in (
            ("a", 0.4, 1, 4, 0.19),
            ("b", 0.3, 2, 1, 0.1),
            ("c", 0.2, 3, 2, 0.15),
            ("d", 0.1, 4, 3, 0.25),
        )
    ]
    part = {"part": "centric", "contribution": -0.5, "logit_without": 0.2}
    found = {"candidate": "x", "user": "u", "score": 0.2, "parts": [part], "weights": "attention", "history": history}
    return {**found, **changed}


def test_all_of_it():
    assert summary_of(_found()) == (
        "The score of x for u is 0.2000; the modality-centric interest lowers it the most (-0.50 of the logit); 2 of 4 "
        "history items hold half of the attention; without b it would be 0.1000, the largest change; of the 3 items "
        "with the largest weights, 2 are among the 3 that change it the most."
    )


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"parts": [], "weights": None, "history": []}, "The score of x for u is 0.2000."),
        (
            {"parts": [{"part": "own", "contribution": 0.25}], "weights": None, "history": []},
            "The score of x for u is 0.2000; the own raises it the most (+0.25 of the logit).",
        ),
        (
            {"parts": [], "history": [{**_found()["history"][1], "weight": 1.0}]},
            "The score of x for u is 0.2000; 1 of 1 history items holds half of the attention; without b it would be "
            "0.1000, the largest change.",
        ),
        (
            {"parts": [], "weights": "activation", "history": _found()["history"][:2]},
            "The score of x for u is 0.2000; without b it would be 0.1000, the largest change.",
        ),
    ],
)
def test_what_is_not_known_is_not_said(changed, sentence):
    assert summary_of(_found(**changed)) == sentence
