"""One line of what another library says."""

from __future__ import annotations

import pytest

from serving.messages import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  one  \ntwo"), "one"),
        (ValueError(), "ValueError"),
        (ValueError(" \n"), "ValueError"),
        (ValueError("Graph execution error:\n\n/m/variables; Permission denied\n\t [[{{node X}}]]"), "/m/variables; "),
        (ValueError("Graph execution error:"), "ValueError"),
        (ValueError("{{function_node __wrapped__X_device_/job:a/CPU:0}} bad record at 12 [Op:X] name: "), "bad record"),
    ],
)
def test_the_first_line_that_says_something(error, line):
    assert first_line(error).startswith(line)
    assert "\n" not in first_line(error)
    assert "[Op:" not in first_line(error)
