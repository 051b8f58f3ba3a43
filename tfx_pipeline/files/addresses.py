"""Addresses: where a file or a folder lies, as TFX and the configuration give it.

An address is text or a path. The pipeline joins and takes apart addresses by these functions alone, never by
`pathlib`, which makes `gs:/bucket` of `gs://bucket`. Today the room reads and writes local paths; an object store is
refused in a sentence, and this is the one place that will know of it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeAlias

from tfx_pipeline.errors import DataError

Address: TypeAlias = str | os.PathLike[str]

# With one slash as well: what pathlib leaves of two. Two letters at least, as in no drive's name.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def join(base: Address, *names: str) -> str:
    """The address of something below `base`."""
    return os.path.join(os.fspath(base), *names)


def parent(address: Address) -> str:
    """The address of the folder that holds this one; `.` for a bare name."""
    text = os.fspath(address)
    return os.path.dirname(text.rstrip("/")) or ("/" if text.startswith("/") else ".")


def scheme(address: Address) -> str | None:
    """What an address of an object store begins with, such as `gs`; None of a local path."""
    found = _SCHEME.match(os.fspath(address))
    return found[1] if found else None


def local(address: Address) -> Path:
    """A local path with what lies at the address, for libraries that read nothing else: memory maps, HDF5, Keras.

    Raises:
        DataError: the address is one of an object store.
    """
    text = os.fspath(address)
    if scheme(text):
        raise DataError(f"{text} is on an object store; this version reads and writes local folders: mount the store")
    return Path(text)
