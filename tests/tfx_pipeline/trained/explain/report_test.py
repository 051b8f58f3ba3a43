"""An explanation as one sentence and as JSON."""

from __future__ import annotations

import dataclasses

import pytest

from tfx_pipeline.trained.explain.report import Explanation, HistoryItem, Part, Similarity

ITEMS = [
    HistoryItem(item, 4 - place, score, 0.1, by_effect, weight, by_weight)
    for place, (item, weight, by_weight, by_effect, score) in enumerate(
        (("a", 0.4, 1, 4, 0.19), ("b", 0.3, 2, 1, 0.1), ("c", 0.2, 3, 2, 0.15), ("d", 0.1, 4, 3, 0.25))
    )
]
FOUND = Explanation(
    "u",
    "x",
    title=None,
    model="shop/7",
    model_name="dmf",
    told_by="signature",
    history_source="given",
    score=0.2,
    logit=-1.4,
    base_logit=0.1,
    parts=[Part("centric", -0.5, 0.2)],
    weights="attention",
    history=ITEMS,
    notes=[],
)


def summary_of(**changed) -> str:
    return dataclasses.replace(FOUND, **changed).summary


def test_even_attention_is_called_so():
    even = [
        dataclasses.replace(item, weight=weight) for item, weight in zip(ITEMS, (0.3, 0.25, 0.25, 0.2), strict=True)
    ]
    assert "2 of 4 history items hold half of the attention, which is spread almost evenly;" in summary_of(history=even)


def test_all_of_it():
    assert summary_of() == (
        "The score of x for u is 0.2000; the modality-centric interest lowers it the most (-0.50 of the logit); 2 of 4 "
        "history items hold half of the attention; without b it would be 0.1000, the largest change; of the 3 items "
        "with the largest weights, 2 are among the 3 that change it the most."
    )


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"parts": [], "weights": None, "history": []}, "The score of x for u is 0.2000."),
        (
            {"parts": [Part("own", 0.25, 0.0)], "weights": None, "history": []},
            "The score of x for u is 0.2000; the own raises it the most (+0.25 of the logit).",
        ),
        (
            {"parts": [], "history": [dataclasses.replace(ITEMS[1], weight=1.0)]},
            "The score of x for u is 0.2000; 1 of 1 history items holds half of the attention; without b it would be "
            "0.1000, the largest change.",
        ),
        (
            {"parts": [], "weights": "activation", "history": ITEMS[:2]},
            "The score of x for u is 0.2000; without b it would be 0.1000, the largest change.",
        ),
    ],
)
def test_what_is_not_known_is_not_said(changed, sentence):
    assert summary_of(**changed) == sentence


def test_json_lacks_weights_that_nobody_told():
    told = dataclasses.replace(ITEMS[0], weight_by_head=[0.4], similarity={"text": Similarity(0.5, 6), "image": None})
    silent = HistoryItem("e", 1, 0.3, -0.2, 1, time="2025-03-25T12:30:00+00:00")
    values = dataclasses.replace(FOUND, history=[told, silent]).to_json()
    assert list(values) == [
        *("user", "candidate", "title", "model", "model_name", "told_by", "history_source", "score", "logit"),
        *("base_logit", "parts", "weights", "history", "notes", "summary"),
    ]
    assert values["history"] == [
        {
            "item": "a",
            "position": 4,
            "score_without": 0.19,
            "effect": 0.1,
            "rank_by_effect": 4,
            "weight": 0.4,
            "rank_by_weight": 1,
            "weight_by_head": [0.4],
            "similarity": {"text": {"cosine": 0.5, "bucket": 6}, "image": None},
            "title": None,
            "time": None,
        },
        {
            "item": "e",
            "position": 1,
            "score_without": 0.3,
            "effect": -0.2,
            "rank_by_effect": 1,
            "similarity": {},
            "title": None,
            "time": "2025-03-25T12:30:00+00:00",
        },
    ]
