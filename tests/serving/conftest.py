"""What tests of clients and of servers share."""

from __future__ import annotations

import pytest

from tests.serving.client.servers import CLIENTS


@pytest.fixture(params=CLIENTS)
def kind(request):
    """The kind of client."""
    return request.param
