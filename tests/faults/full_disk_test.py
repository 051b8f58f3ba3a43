"""A disk without room, by the system's limit on the size of files: a sentence, and no half-written file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from tfx_pipeline.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("limit", [0, 1_000, 20_000])
def test_logs_that_find_no_room_are_not_there(limit: int, tmp_path: Path) -> None:
    command = ["synthesize", "--users", "100", "--requests", "500", str(tmp_path / "world")]
    result = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(limit), *command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr and "File too large" in result.stderr
    assert [file.name for file in tmp_path.rglob("*") if file.is_file() and not file.stat().st_size <= limit] == []
    assert not [file.name for file in tmp_path.rglob(".incoming-*")]
