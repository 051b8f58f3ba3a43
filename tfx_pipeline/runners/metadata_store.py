"""The store of what ran before: whether it can be used, and a new beginning where it cannot."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
from pathlib import Path

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.errors import PipelineError
from tfx_pipeline.files.writing import rename
from tfx_pipeline.pipeline import metadata_path, pipeline_root

_WAY_OUT = (
    "What earlier runs left there can no longer be told from data. To set it aside and run every step anew: "
    "dmf run --rebuild-metadata"
)


def check_store(config: PipelineConfig) -> None:
    """Whether the metadata store can be read, and is that of the artifacts in the output folder.

    Raises:
        PipelineError: it is damaged, or there are artifacts and no store; with the way out.
    """
    path = metadata_path(config)
    if not path.exists():
        root = pipeline_root(config)
        if root.is_dir() and any(root.iterdir()):
            raise PipelineError(f"{path} is gone, but {root} holds what steps wrote. {_WAY_OUT}")
        return
    fault = _fault(path)
    if fault:
        raise PipelineError(f"{path} is damaged: {fault}. {_WAY_OUT}")


def set_aside(config: PipelineConfig) -> list[str]:
    """Moves the store and all artifacts of before away, so that the next run begins anew; pushed models stay.

    Returns:
        Where they lie now.
    """
    now = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}"
    store = metadata_path(config)
    beside = [path for path in store.parent.glob(f"{store.name}*") if ".set-aside-" not in path.name]
    moved = []
    for path in (*sorted(beside), pipeline_root(config)):
        if os.path.lexists(path):
            moved.append(rename(path, f"{path.name}.set-aside-{now}"))
    return moved


def _fault(path: Path) -> str | None:
    if not path.is_file():
        return "it is no file"
    if not path.stat().st_size:
        return "it is empty"
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            [(verdict,), *_] = connection.execute("PRAGMA quick_check(1)").fetchall()
            connection.execute("SELECT COUNT(*) FROM Execution").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    return None if verdict == "ok" else str(verdict)
