"""Which versions a policy chooses."""

from __future__ import annotations

import pytest

from serving.local_server.errors import LocalServerError
from serving.local_server.policy import VersionPolicy


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("latest", {30}),
        ("latest:2", {4, 30}),
        ("latest:9", {1, 4, 30}),
        ("all", {1, 4, 30}),
        ("1", {1}),
        ("30, 4", {4, 30}),
        ("1,7", {1}),
    ],
)
def test_policy(text, chosen):
    assert VersionPolicy.parse(text).select([4, 30, 1]) == chosen
    assert VersionPolicy.parse(text).select([]) == set()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "newest",
        "latest:0",
        "latest:",
        "latest:-1",
        "3,",
        "3;4",
        "3.5",
        "all:2",
        str(2**63),
        "9" * 5000,
        f"latest:{'9' * 5000}",
    ],
    ids=lambda text: f"{text:.20}",
)
def test_unknown_policies_are_refused(text):
    with pytest.raises(LocalServerError, match="'latest:N', 'all' or numbers"):
        VersionPolicy.parse(text)
