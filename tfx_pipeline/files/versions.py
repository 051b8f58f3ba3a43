"""Numbers of the versions of a served model, which are folders beside each other."""

from __future__ import annotations

import time
from collections.abc import Iterable

from tfx_pipeline.files.addresses import Address, join
from tfx_pipeline.files.reading import list_names


def version_names(names: Iterable[str]) -> list[str]:
    """Those of the names that are numbers of versions, the newest last."""
    return sorted((name for name in names if name.isdigit()), key=int)


def next_version(base: Address) -> str:
    """Address of the version that comes after all that are there.

    Later than every one, even when two pushes fall into one second or a clock went back.

    Args:
        base: folder of the versions.
    """
    newest = max(map(int, version_names(list_names(base))), default=0)
    return join(base, str(max(int(time.time()), newest + 1)))
