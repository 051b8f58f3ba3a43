"""Files and folders that appear whole or not at all, by rename from a hidden name beside them.

Whoever is killed leaves what was there before, and an unfinished file that no reader takes for data: its name begins
with `.incoming-`. An exception leaves nothing. Several may write one file at once: the last to finish wins, and
nobody sees a mixture. No file is synchronised to the disk: a power failure may cost what the system had not written.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tfx_pipeline.files.addresses import Address, local
from tfx_pipeline.files.json_values import plain

_INCOMING = ".incoming-"
_PREVIOUS = ".previous-"
_TOKEN_BYTES = 4
_PREFIX_LENGTH = len(_INCOMING) + 2 * _TOKEN_BYTES + len("-")


@contextlib.contextmanager
def writing(address: Address) -> Iterator[Path]:
    """Replaces a file by what the block writes; folders above it are made where they are not there.

    Args:
        address: of the file.

    Yields:
        A local path to write to, by any library; nothing is there yet. It ends as the address does, as some libraries
        go by the ending or add their own.

    Raises:
        OSError: the folder may not be written, the disk is full, or the block left no file.
    """
    target = local(address)
    target.parent.mkdir(parents=True, exist_ok=True)
    incoming = _incoming(target)
    with _removed_on_failure(incoming):
        yield incoming
        os.replace(incoming, target)


@contextlib.contextmanager
def writing_folder(address: Address, *, replace: bool = False) -> Iterator[Path]:
    """Publishes a folder that the block fills; folders above it are made where they are not there.

    Args:
        address: of the folder.
        replace: whether a folder that holds something is replaced. Then there must be one writer, who calls `recover`
            before anybody reads: a folder is replaced by two renames, and a kill may fall between them.

    Yields:
        A local, empty folder.

    Raises:
        OSError: as for `writing`; or the folder holds something, and is not to be replaced.
    """
    target = local(address)
    target.parent.mkdir(parents=True, exist_ok=True)
    incoming = _incoming(target)
    incoming.mkdir()
    with _removed_on_failure(incoming):
        yield incoming
        if replace and target.exists():
            _exchange(incoming, target)
        else:
            os.rename(incoming, target)


def write_bytes(address: Address, content: bytes) -> None:
    """Writes a file, as `writing` does."""
    with writing(address) as file:
        file.write_bytes(content)


def write_text(address: Address, text: str) -> None:
    """Writes a file of UTF-8, as `writing` does."""
    write_bytes(address, text.encode("utf-8"))


def write_lines(address: Address, lines: Iterable[str]) -> None:
    """Writes a line for each text, which holds no line end of its own; `read_lines` reads them."""
    with writing(address) as file, file.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"{line}\n" for line in lines)


def write_json(address: Address, values: Mapping[str, Any]) -> None:
    """Writes values as `plain` has them."""
    write_text(address, json.dumps(plain(values), indent=1, allow_nan=False) + "\n")


def write_copy(address: Address, source: Path) -> None:
    """Writes what another file holds. On one disk both names are of one file, which nobody may change in place."""
    with writing(address) as incoming:
        try:
            os.link(source, incoming)
        except OSError:
            shutil.copyfile(source, incoming)


def rename(address: Address, name: str) -> str:
    """Gives a file or a folder another name in its folder, where there is none of that name yet.

    Returns:
        Its address now.
    """
    return str(local(address).rename(local(address).with_name(name)))


def remove(address: Address) -> None:
    """Removes a file, or a folder with all that it holds; nothing there is fine.

    Raises:
        OSError: it may not be removed.
    """
    target = local(address)
    with contextlib.suppress(FileNotFoundError):
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()


def recover(address: Address) -> None:
    """Clears up what killed writers of an address left; a folder they had put away for another comes back.

    Nobody else may be writing there.
    """
    target = local(address)
    previous = _previous(target)
    if previous.exists() and not target.exists():
        os.rename(previous, target)
    elif previous.exists():
        remove(previous)
    for unfinished in _unfinished(target.parent):
        if unfinished.name[_PREFIX_LENGTH:] == target.name:
            remove(unfinished)


def remove_unfinished(folder: Address) -> None:
    """Removes what killed writers of anything in a folder left; nobody else may be writing there."""
    for unfinished in _unfinished(local(folder)):
        remove(unfinished)


def _incoming(target: Path) -> Path:
    # Not by tempfile, whose files are private: others read them too, as far as the umask lets them.
    return target.with_name(f"{_INCOMING}{secrets.token_hex(_TOKEN_BYTES)}-{target.name}")


def _previous(target: Path) -> Path:
    return target.with_name(f"{_PREVIOUS}{target.name}")


@contextlib.contextmanager
def _removed_on_failure(incoming: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # The failure that is on its way says more than one of the clearing up.
        with contextlib.suppress(OSError):
            remove(incoming)
        raise


def _exchange(incoming: Path, target: Path) -> None:
    previous = _previous(target)
    remove(previous)
    os.rename(target, previous)
    try:
        os.rename(incoming, target)
    except BaseException:
        os.rename(previous, target)
        raise
    # The new folder is there; whoever writes next tries again.
    with contextlib.suppress(OSError):
        remove(previous)


def _unfinished(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.name.startswith(_INCOMING)] if folder.is_dir() else []
