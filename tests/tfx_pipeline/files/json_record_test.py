"""Dataclasses as JSON and back: nested, in order, and refused with the entry that is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from tfx_pipeline.files.json_record import JsonRecord, RecordError


@dataclass(frozen=True)
class Part:
    label: str
    value: float | None


@dataclass(frozen=True)
class Whole(JsonRecord):
    zeta: int
    alpha: Sequence[Part]
    parts: Mapping[str, Part]
    last: Part | None


WHOLE = Whole(1, (Part("a", 0.5), Part("b", math.nan)), {"c": Part("c", math.inf)}, None)


def test_entries_are_the_attributes_in_their_order_and_numbers_are_those_of_json():
    values = WHOLE.to_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert list(values) == ["zeta", "alpha", "parts", "last"]
    assert values["alpha"] == [{"label": "a", "value": 0.5}, {"label": "b", "value": None}]
    assert values["parts"] == {"c": {"label": "c", "value": None}}


def test_what_was_written_is_read():
    found = Whole.from_json(WHOLE.to_json())
    assert (found.zeta, found.alpha[0], found.parts["c"], found.last) == (1, Part("a", 0.5), Part("c", None), None)


def test_entries_of_a_later_version_are_passed_over():
    assert Whole.from_json({**WHOLE.to_json(), "new": 3}).to_json() == WHOLE.to_json()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"zeta": "one"}, r"^zeta: .*integer.*, got 'one'$"),
        ({"alpha": [{"label": "a"}]}, r"^alpha\.0\.value: .*required, got \{'label': 'a'\}$"),
        ({"parts": "x" * 200}, r"^parts: .*, got 'x{79}\.\.\.$"),
    ],
)
def test_a_wrong_entry_is_named(change, sentence):
    with pytest.raises(RecordError, match=sentence):
        Whole.from_json({**WHOLE.to_json(), **change})


def test_json_that_is_no_object_is_refused():
    with pytest.raises(RecordError, match=r"^all of it: .*, got \[\]$"):
        Whole.from_json([])
