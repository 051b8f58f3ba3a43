"""Where things of an object store lie in a container.

Artifacts of `s3://bucket/runs` are at `/s3/bucket/runs`: Kubeflow's launcher brings a step's inputs there before it
begins and takes its outputs from there when it has ended; Vertex mounts the store there. So a step's executor reads and
writes local files, wherever the pipeline's root is. What a step fetches for itself has a place of its own, since that
which Vertex mounts is the store.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tfx_pipeline.files.addresses import scheme

_FOLDERS = {"gs": "gcs", "s3": "s3", "minio": "minio"}
ROOT_VARIABLE = "DMF_MOUNTS"
"""Environment variable that names the folder of `gcs`, `s3` and `minio`, where that is not `/`."""


def mounted(address: str) -> str:
    """The local path of an artifact's address; a local path as it is."""
    store, separator, path = address.partition("://")
    return str(_root() / _FOLDERS[store] / path) if separator and store in _FOLDERS else address


def address_of(path: str) -> str:
    """Inverse of `mounted`."""
    for store, name in _FOLDERS.items():
        folder = _root() / name
        if Path(path).is_relative_to(folder) and Path(path) != folder:
            return f"{store}://{Path(path).relative_to(folder).as_posix()}"
    return path


def fetched(address: str) -> str:
    """The local path of what a step fetches from an address, and of what it publishes there; a local path as it is."""
    store, _, path = address.partition("://")
    return str(Path(tempfile.gettempdir(), "dmf", "fetched", store, path)) if scheme(address) else address


def _root() -> Path:
    return Path(os.environ.get(ROOT_VARIABLE, "/"))
