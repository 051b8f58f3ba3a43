"""The configuration's ranges in KerasTuner's terms and back: every suggestion is a value that the range allows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_pipeline.config.tuning import Range
from tfx_pipeline.training.search.space import config_values, search_space

PROBABILITY = st.floats(0, 1, exclude_max=True)


def _value(values: Range, probability: float):
    """What the value at a quantile of the range becomes in the configuration."""
    space = {"params.x": values}
    (hyperparameter,) = search_space(space).space
    return config_values(space, {"params.x": hyperparameter.prob_to_value(probability)})["params.x"]


@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-3, 1e3), probability=PROBABILITY)
def test_uniform_stays_within_its_bounds(low, width, probability):
    value = _value(Range(uniform=[low, low + width]), probability)
    assert low <= value <= low + width
    assert value == pytest.approx(low + probability * width, rel=6e-4)


@given(low=st.floats(1e-8, 10), ratio=st.floats(1.1, 1e6), probability=PROBABILITY)
def test_log_is_uniform_of_the_logarithm(low, ratio, probability):
    value = _value(Range(log=[low, low * ratio]), probability)
    assert low <= value <= low * ratio
    assert value == pytest.approx(low * ratio**probability, rel=6e-4)


@given(low=st.integers(-50, 50), width=st.integers(1, 50), probability=PROBABILITY)
def test_integers_reach_both_bounds(low, width, probability):
    values = Range(int=[low, low + width])
    value = _value(values, probability)
    assert type(value) is int
    assert low <= value <= low + width
    assert (_value(values, 0.0), _value(values, 1 - 1e-9)) == (low, low + width)


SCALARS = st.one_of(st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text(max_size=3), st.none())


@settings(max_examples=50)
@given(
    choices=st.lists(st.one_of(SCALARS, st.lists(st.integers(1, 9), max_size=3)), min_size=1, max_size=5),
    probability=PROBABILITY,
)
def test_a_choice_is_one_of_those_written_of_whatever_type(choices, probability):
    value = _value(Range(choice=choices), probability)
    assert json.dumps(value) in [json.dumps(choice) for choice in choices]


def test_every_choice_can_be_chosen():
    choices = ["fixed", "learned", 3, 0.5, True, None, [64, 32]]
    found = [_value(Range(choice=choices), (n + 0.5) / len(choices)) for n in range(len(choices))]
    assert found == choices
    assert [type(value) for value in found] == [type(choice) for choice in choices]


def test_numbers_keep_their_order_for_the_search():
    """A Gaussian process can use it; it cannot of names."""
    numbers, names = search_space({"a": Range(choice=[16, 0.5, 64]), "b": Range(choice=["x", "y"])}).space
    assert (numbers.ordered, names.ordered) == (True, False)
