from __future__ import annotations

from pathlib import Path

import pytest

from tfx_pipeline.studies.worlds.synthetic import write_demo_logs


@pytest.fixture(scope="session")
def demo_directory(tmp_path_factory) -> Path:
    """The demo's data as `dmf demo` writes it."""
    return write_demo_logs(tmp_path_factory.mktemp("demo") / "data")
