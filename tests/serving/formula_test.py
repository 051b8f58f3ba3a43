from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.formula import Formula, FormulaError

NAMES = ("click", "buy", "like")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("click", lambda c, b: c),
        ("click * buy", lambda c, b: c * b),
        ("click * buy ** 0.5", lambda c, b: c * b**0.5),
        ("  2 * (click + 3e-1) / (1 + buy) - -buy ", lambda c, b: 2 * (c + 0.3) / (1 + b) + b),
        ("(click - 1) ** 2", lambda c, b: (c - 1) ** 2),
        ("click ** buy", lambda c, b: c**b),
        ("(\nclick\n+ buy)", lambda c, b: c + b),
        ("0.5 ** click", lambda c, b: 0.5**c),
    ],
)
def test_is_what_it_says_on_arrays_and_tensors(text, expected):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    click, buy = rng.random((2, 3, 4), np.float32)
    formula = Formula(text, NAMES)
    wanted = expected(click.astype(float), buy.astype(float))
    np.testing.assert_allclose(formula({"click": click, "buy": buy}), wanted, rtol=1e-5, atol=1e-6)
    tensors = formula({"click": tf.constant(click), "buy": tf.constant(buy)})
    assert tensors.dtype == tf.float32
    np.testing.assert_allclose(tensors.numpy(), wanted, rtol=1e-5, atol=1e-6)
    low, high = formula.bounds
    assert low <= wanted.min() + 1e-6 and wanted.max() <= high + 1e-6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 1 to 500 characters, got 0"),
        ("click +", r"at character \d+: invalid syntax"),
        ("click * sale", "at character 9: 'sale' is no objective; there are click, buy, like"),
        ("é * click", "at character 1: 'é' is no objective"),
        ("(é * click)", "at character 2"),
        ("click * exp(buy)", "at character 9: a call is not allowed"),
        ("__import__('os').system('true')", "at character 1: a call is not allowed"),
        ("click.__class__", "an attribute is not allowed"),
        ("click[0]", "an index is not allowed"),
        ("click > buy", "a comparison is not allowed"),
        ("click if buy else like", "IfExp is not allowed"),
        ("lambda: click", "Lambda is not allowed"),
        ("click % buy", "the operator Mod is not allowed"),
        ("+click", "the operator UAdd is not allowed"),
        ("not click", "the operator Not is not allowed"),
        ("click * True", "at character 9: True is no number"),
        ("click * 2j", "2j is no number"),
        ("click * 'a'", "'a' is no number"),
        ("2 + 3", "names no objective"),
        ("click / buy", r"at character 9: divides by what can be 0 \(it lies in \[0, 1\]\); add a number"),
        ("click / (buy - 0.5)", "divides by what can be 0"),
        ("1 / (1 + 1e-9 - click)", "divides by what can be 0"),
        ("click ** -1", "a negative power of what can be 0"),
        ("(click - 0.5) ** 0.5", "must be 0, 1, 2"),
        ("click * 1e39", "at character 9: can be larger than any float32"),
        ("(click + 1) ** 1000", "can be larger than any float32"),
        ("9 ** 9 ** 9 * click", "can be larger than any float32"),
        ("click" + " + click" * 100, "expected 1 to 500 characters"),
        ("(" * 240 + "click" + ")" * 240, "too many nested parentheses|cannot be read"),
        ("click; buy", "invalid syntax"),
        ("click = buy", r"at character \d+"),
        ("click\0", "cannot be read|at character"),
        ("(x := click)", "NamedExpr is not allowed"),
    ],
)
def test_what_is_refused_and_where(text, message):
    with pytest.raises(FormulaError, match=message):
        Formula(text, NAMES)


@st.composite
def _texts(draw, depth=3):
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from([*NAMES, "0", "1", "0.5", "2", "1e-3", "1e20", "3.7"]))
    left, right = draw(_texts(depth - 1)), draw(_texts(depth - 1))
    return f"({left} {draw(st.sampled_from(['+', '-', '*', '/', '**']))} {right})"


@settings(max_examples=300, deadline=None)
@given(_texts())
def test_what_is_accepted_is_finite_and_within_its_bounds(text):
    try:
        formula = Formula(text, NAMES)
    except FormulaError:
        return
    corners = np.array(np.meshgrid(*[[0, 1e-30, 1e-7, 0.3, 0.5, 1 - 6e-8, 1]] * 3), np.float32).reshape(3, -1)
    with np.errstate(under="ignore"):
        values = np.broadcast_to(formula(dict(zip(NAMES, corners, strict=True))), corners.shape[1:])
    assert np.isfinite(values).all()
    low, high = formula.bounds
    slack = 1e-5 * max(abs(low), abs(high)) + 1e-30
    assert math.isfinite(low) and values.min() >= low - slack and values.max() <= high + slack
