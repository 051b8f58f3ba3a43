"""Reading what lies at an address, and looking what is there."""

from __future__ import annotations

import json
import os
from typing import Any

from tfx_pipeline.files.addresses import Address, join, local


def exists(address: Address) -> bool:
    """Whether a file or a folder is there."""
    return local(address).exists()


def read_bytes(address: Address) -> bytes:
    """The file's content.

    Raises:
        OSError: it is not there, or may not be read. So do all functions that read.
    """
    return local(address).read_bytes()


def read_text(address: Address) -> str:
    """The file's content, which is UTF-8; line ends stay as they are."""
    return read_bytes(address).decode("utf-8")


def read_json(address: Address) -> Any:
    """The JSON document that the file holds."""
    return json.loads(read_text(address))


def read_lines(address: Address) -> list[str]:
    r"""Lines without their ends. Only `\n` ends a line: ids and titles may hold other breaks, such as U+2028."""
    with local(address).open(encoding="utf-8", newline="\n") as lines:
        return [line.removesuffix("\n") for line in lines]


def list_names(folder: Address) -> list[str]:
    """Names of the files and folders directly in a folder, sorted, without hidden ones; none where it is not there."""
    try:
        return sorted(name for name in os.listdir(local(folder)) if not name.startswith("."))
    except FileNotFoundError:
        return []


def list_files(folder: Address, ending: str = "") -> list[str]:
    """Addresses of what `list_names` names.

    Args:
        folder: where to look; not in its sub-folders.
        ending: of the names that are wanted, taken literally.
    """
    return [join(folder, name) for name in list_names(folder) if name.endswith(ending)]
