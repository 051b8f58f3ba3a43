"""A headless browser that is started once, and the pages that tests look at in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tfx_pipeline.pages.browser import CHROMIUM, Browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine to open the page with")
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started
