from __future__ import annotations

from pathlib import Path

import pytest

from tfx_pipeline.files.memory import available_bytes


@pytest.fixture
def told(tmp_path: Path) -> tuple[Path, Path]:
    """A machine with 3 MiB free and 1 of swap; a control group of 2 MiB, 1.5 of them used, 1 by pages of files."""
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    meminfo.write_text("MemTotal: 8192 kB\nMemFree: 100 kB\nMemAvailable: 3072 kB\nSwapFree: 1024 kB\n")
    group.mkdir()
    (group / "memory.max").write_text(f"{2 << 20}\n")
    (group / "memory.current").write_text(f"{3 << 19}\n")
    (group / "memory.stat").write_text(f"anon 7\ninactive_file {1 << 19}\nactive_file {1 << 19}\nslab_reclaimable 9\n")
    return meminfo, group


def test_the_lesser_of_machine_and_control_group(told: tuple[Path, Path]) -> None:
    assert available_bytes(*told) == (2 << 20) - (3 << 19) + (1 << 20) + 9
    (told[1] / "memory.max").write_text("max\n")
    assert available_bytes(*told) == 4 << 20


def test_nothing_is_said_where_the_system_does_not(tmp_path: Path) -> None:
    assert available_bytes(tmp_path / "none", tmp_path / "neither") is None


def test_this_machine_has_some() -> None:
    found = available_bytes()
    assert found is None or 1 << 20 < found < 1 << 50
