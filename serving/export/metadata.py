"""Where an exported model comes from and how large it is: `assets.extra/metadata.json` and what goes into it.

Free of TensorFlow, so that a model can be looked at without loading it.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serving import contract
from serving.export.atomic import written_whole

ROOT = Path(__file__).resolve().parents[2]

_LIBRARIES = ("tensorflow", "keras", "numpy", "tfx", "tensorflow-transform", "apache-beam")
_GIT_SECONDS = 10


def write_json(model_dir: str | Path, file: str, values: dict[str, Any]) -> None:
    """Writes one of the JSON assets of a model; it appears whole or not at all.

    Args:
        model_dir: the exported model.
        file: one of `contract`, such as `METADATA_FILE`.
        values: plain JSON values.
    """
    with written_whole(Path(model_dir, file)) as partial:
        partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_json(model_dir: str | Path, file: str) -> dict[str, Any] | None:
    """What `write_json` wrote, or None when the model has no such asset.

    Raises:
        OSError, ValueError: the file is there and cannot be read, or holds no JSON object.
    """
    try:
        values = json.loads(Path(model_dir, file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if not isinstance(values, dict):
        raise ValueError(f"{Path(model_dir, file)} must hold a JSON object, it holds {type(values).__name__}")
    return values


def saved_model_sizes(model_dir: str | Path) -> dict[str, int]:
    """Bytes of the parts of an exported model.

    Returns:
        `graph`: `saved_model.pb`; `variables`: weights and content tables; `assets`: vocabularies and the catalogue's
        ids; `extra`: warm-up and golden requests and what else lies in `assets.extra`; `total`.
    """
    directory = Path(model_dir)
    sizes = {
        "graph": _bytes([directory / "saved_model.pb"]),
        "variables": _bytes(directory.glob("variables/*")),
        "assets": _bytes(directory.glob("assets/*")),
        "extra": _bytes(directory.glob(f"{contract.EXTRA_ASSETS}/*")),
    }
    return {**sizes, "total": _bytes(directory.rglob("*"))}


def git_revision(root: Path = ROOT) -> dict[str, Any] | None:
    """Commit of a checkout, and whether its files differ from it.

    Args:
        root: folder of the checkout.

    Returns:
        `revision` and `dirty`; None where `root` is no git checkout with a commit, or there is no git.
    """
    # Asked further down in some other repository, as with packages in its virtual environment, git would answer too.
    if not (root / ".git").exists():
        return None
    try:
        return {"revision": _git(root, "rev-parse", "HEAD"), "dirty": bool(_git(root, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def library_versions() -> dict[str, str]:
    """Versions of Python, of this project and of the libraries that shape a model; those not installed are left out."""
    versions = {"python": platform.python_version()}
    for name in ("dmf-ranking", *_LIBRARIES):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_SECONDS)
    return result.stdout.strip()


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
