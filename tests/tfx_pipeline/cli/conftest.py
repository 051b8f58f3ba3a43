"""The configuration that tests of commands are given."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFIG = """\
name: shop
output: out
data:
  interactions: {path: log.csv}
  items: {path: items.csv}
split: {fractions: {}}
content:
  modalities:
    text: {path: text.npz}
"""


@pytest.fixture
def config_file(tmp_path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    return file
