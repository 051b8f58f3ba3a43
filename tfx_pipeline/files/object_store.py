"""Files on object stores, brought to local folders and back: the one place that speaks to a store, by fsspec.

Credentials and endpoints are those of the stores' own libraries: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
`AWS_ENDPOINT_URL` of `s3://`, the application's default credentials of `gs://`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving.messages import first_line
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.addresses import scheme

_MAGIC = set("*?[")


def fetch(address: str, target: Path) -> None:
    """Copies what lies at an address to a local path.

    Args:
        address: of a file, of a folder with all that is below it, or a pattern, whose last part alone has `*`, `?` or
            `[...]`.
        target: what the address is called here, pattern included; files that are there are replaced.

    Raises:
        DataError: nothing is there, or the store cannot be read.
    """
    with open_store(address) as (store, path):
        if _MAGIC & set(path):
            found = [(name, target.parent / Path(name).name) for name in store.glob(path)]
        elif store.isfile(path):
            found = [(path, target)]
        else:
            found = [(name, target / Path(name).relative_to(path)) for name in store.find(path)]
        if not found:
            raise DataError(f"{address}: nothing is there; expected a file, a pattern, or a folder with files")
        for name, file in found:
            check_name(name, address)
            file.parent.mkdir(parents=True, exist_ok=True)
            store.get_file(name, str(file))


def check_name(name: str, address: str) -> None:
    """Raises `DataError` for a name in a store that as a path would lead elsewhere: a store's name may hold `..`."""
    if ".." in Path(name).parts:
        raise DataError(f"{address}: holds {name!r}, which as a path leads out of its folder; rename it")


def names_in(address: str) -> list[str]:
    """Names of the files and folders directly in a folder, sorted; none where it is not there.

    Raises:
        DataError: the store cannot be read.
    """
    with open_store(address) as (store, path):
        # Another process may have written since this one looked.
        store.invalidate_cache()
        with contextlib.suppress(FileNotFoundError):
            return sorted(Path(name).name for name in store.ls(path, detail=False) if Path(name) != Path(path))
        return []


def publish(folder: Path, address: str, last: str) -> None:
    """Copies a folder to an address, the file that makes it one last: a store has no rename.

    Args:
        folder: what is copied.
        address: of the folder there.
        last: a file of the folder, by which readers tell that it is there.

    Raises:
        DataError: the store cannot be written.
    """
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    files.sort(key=lambda name: name == last)
    with open_store(address) as (store, path):
        for name in files:
            store.put_file(str(folder / name), f"{path.rstrip('/')}/{name}")


@contextlib.contextmanager
def open_store(address: str) -> Iterator[tuple[Any, str]]:
    """The store and the path in it, as fsspec has them; whatever it raises becomes a sentence with the address.

    Raises:
        DataError: in the block, or by it.
    """
    import fsspec

    try:
        yield fsspec.core.url_to_fs(address)
    except DataError:
        raise
    except ImportError as error:
        raise DataError(
            f"{address}: this store needs a package that is not installed here: {first_line(error)}; "
            "pip install 'dmf-ranking[stores]'"
        ) from None
    # A file that is not there, no credentials, no answer: of each store's own library, and of no common class.
    except Exception as error:
        raise DataError(
            f"{address}: the store '{scheme(address)}' refuses or does not answer: {type(error).__name__}: "
            f"{first_line(error)}; look at the address, the credentials and the endpoint"
        ) from error
