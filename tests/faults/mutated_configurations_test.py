"""Configurations with characters changed at random: they are valid, or refused line by line; nothing else happens."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tfx_pipeline.config import load_config
from tfx_pipeline.errors import ConfigError

_ROOT = Path(__file__).resolve().parents[2]
_FILES = 150
_WORDS = ["<<: ", "&a ", "*a", "!!int ", "0x", "2025-13-01", "1e999", "\u2028", "null"]
_SPLICES = [*"{}[]:,-?*&!|>%@`'\"#\\\n\t ", *_WORDS]


@pytest.mark.parametrize("name", ["pipeline_config.yaml", "examples/ml1m.yaml"])
def test_a_damaged_configuration_is_valid_or_refused(name: str, tmp_path: Path) -> None:
    whole, path, refused = (_ROOT / name).read_text(), tmp_path / "config.yaml", 0
    for seed in range(_FILES):
        numbers = random.Random(seed)
        text = whole
        for _ in range(numbers.randint(1, 5)):
            place = numbers.randrange(len(text))
            text = text[:place] + numbers.choice(_SPLICES) + text[place + numbers.choice([0, 1, 3]) :]
        path.write_text(text)
        try:
            load_config(path)
        except ConfigError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
    assert refused > _FILES // 4, "the mutations reach the values"
