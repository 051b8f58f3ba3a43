"""What tests of clients and of servers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.client.servers import CLIENTS


@pytest.fixture(params=CLIENTS)
def kind(request):
    """The kind of client."""
    return request.param


@pytest.fixture(scope="session")
def exported_dmf(once_per_run) -> Path:
    """The export of `small_model("dmf")` with every signature; it takes seconds."""

    def export(folder: Path) -> Path:
        from serving.export.signatures import export_model
        from tests.serving.export.small_models import VocabularyTransform, small_model

        version = folder / "1"
        export_model(small_model("dmf"), VocabularyTransform(), version, name="dmf", max_history=50, explain=True)
        return version

    return once_per_run("exported_dmf", export)
