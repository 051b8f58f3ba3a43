"""An ONNX file as a session of onnxruntime."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serving.messages import first_line
from tfx_pipeline.errors import ConfigError

_DIGITS = 16


def load_model(key: str, model: Path, threads: int) -> Any:
    """The session of a model.

    Args:
        key: of the encoder in the configuration, for messages.
        model: the file.
        threads: of onnxruntime; 0: one per core.

    Raises:
        ConfigError: onnxruntime is not installed, or cannot load the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise lacks(key, "onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Of errors alone: what is wrong is said by who asks.
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime has an exception of its own for each of its states, with no common base.
        raise ConfigError(f"{key}.model: {model} cannot be loaded: {first_line(error)}") from None


def check_files(key: str, **files: Path) -> None:
    """Raises ConfigError when one of the files, by its key, is not there."""
    for option, file in files.items():
        if not file.is_file():
            raise ConfigError(f"{key}.{option}: there is no file {file}")


def chosen_output(key: str, session: Any, model: Path, wanted: str | None) -> str:
    """The name of the model's output that is wanted, or of its first; raises ConfigError when it has no such one."""
    found = [each.name for each in session.get_outputs()]
    name = wanted or found[0]
    if name not in found:
        raise ConfigError(f"{key}.output: {model} has no output '{name}'; it has: {', '.join(found)}")
    return name


def lacks(key: str, library: str) -> ConfigError:
    """The error of a library that is not installed."""
    return ConfigError(
        f"{key}: encoding needs {library}, which is not installed; install the extra `encode`: pip install "
        "'dmf-ranking[encode]'"
    )


def encoder_digest(model: Path, others: Iterable[Path], settings: object) -> str:
    """16 hex digits of a model with its weights, of other files, and of settings that change vectors."""
    digest = hashlib.sha256()
    for file in [model, *others, *weights_beside(model)]:
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    digest.update(repr(settings).encode())
    return digest.hexdigest()[:_DIGITS]


def listed(kinds: dict[str, str]) -> str:
    """Inputs with their types, in words."""
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) or "nothing"


def weights_beside(model: Path) -> list[Path]:
    """Weights that do not fit into the file."""
    return sorted(file for ending in ("_data", ".data") if (file := model.with_name(model.name + ending)).is_file())
