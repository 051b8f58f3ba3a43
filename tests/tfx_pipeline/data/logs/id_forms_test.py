from __future__ import annotations

import pytest

from tfx_pipeline.data.logs.id_forms import describe_mismatch


@pytest.mark.parametrize(
    ("left", "right", "differ"),
    [
        (["12.0", "7.0"], ["12", "7"], "a trailing .0"),
        (["7", "12"], ["007", "012"], "leading zeros"),
        (["i1  "], ["i1"], "spaces around them"),
        (["ABC"], ["abc"], "upper and lower case"),
        (['"a"'], ["a"], "quotes around them"),
        ([" 07.0"], ["7"], "a trailing .0 and spaces around them"),
    ],
)
def test_says_what_differs(left: list[str], right: list[str], differ: str) -> None:
    sentence = describe_mismatch(left, "the log", right, "the catalogue")
    assert f"they differ by {differ}" in sentence
    assert sentence.startswith("the log has ") and "the catalogue has " in sentence


def test_ids_that_have_nothing_in_common_are_shown() -> None:
    sentence = describe_mismatch(["a", "b", "c"], "the log", ["x"], "the catalogue")
    assert sentence == 'the log has "a" and "b", the catalogue has "x"; write ids the same way in both'
