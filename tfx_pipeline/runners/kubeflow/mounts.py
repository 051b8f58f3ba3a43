"""Where things of an object store lie in a container: `s3://bucket/runs` at `/s3/bucket/runs`.

Kubeflow's launcher brings a step's inputs there before it begins and takes its outputs from there when it has ended;
Vertex mounts the store there. So a step's executor reads and writes local files, wherever the pipeline's root is.
"""

from __future__ import annotations

import os
from pathlib import Path

_FOLDERS = {"gs": "gcs", "s3": "s3", "minio": "minio"}
ROOT_VARIABLE = "DMF_MOUNTS"
"""Environment variable that names the folder of `gcs`, `s3` and `minio`, where that is not `/`."""


def mounted(address: str) -> str:
    """The local path of an address; a local path as it is."""
    store, separator, path = address.partition("://")
    return str(_root() / _FOLDERS[store] / path) if separator and store in _FOLDERS else address


def address_of(path: str) -> str:
    """Inverse of `mounted`."""
    for store, name in _FOLDERS.items():
        folder = _root() / name
        if Path(path).is_relative_to(folder) and Path(path) != folder:
            return f"{store}://{Path(path).relative_to(folder).as_posix()}"
    return path


def _root() -> Path:
    return Path(os.environ.get(ROOT_VARIABLE, "/"))
