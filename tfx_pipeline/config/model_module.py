"""Imports the module that registers a user's own model."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from tfx_pipeline.config.spelling import did_you_mean

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def import_model_module(name: str, folder: Path | None) -> ModuleType:
    """Imports `model.module`: an installed module, or one of a folder, which is the configuration file's if not given.

    The folder stays at the end of `sys.path`, as a registered class is imported only when the model is built.

    Args:
        name: dotted name of the module.
        folder: where it lies; None: only what Python finds by itself.

    Returns:
        The module.

    Raises:
        ValueError: no such module, it raises when imported, or another one hides it; one line for the user.
    """
    if not _DOTTED.fullmatch(name) or name.endswith(".py"):
        raise ValueError("should be a module's name as in an import, my_team.ranking, and not a file's")
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))
    # A file that was written a moment ago is not in the import system's listing of its folder.
    importlib.invalidate_caches()
    _refuse_hidden(name, folder)
    try:
        return importlib.import_module(name)
    # A user's code may raise anything, and a script may end the process.
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
        if missing and f"{name}.".startswith(f"{missing}."):
            raise ValueError(_not_found(missing, folder)) from None
        first_line = (str(error).strip() or "no message").splitlines()[0]
        raise ValueError(f"fails when imported: {type(error).__name__}: {first_line}{_place(name, error)}") from None


def lies_in(module: object, folder: Path) -> bool:
    """Whether a module of that dotted name has its file or its package in the folder; False for what is no name."""
    top = module.partition(".")[0] if isinstance(module, str) else ""
    return bool(top) and ((folder / top).is_dir() or (folder / f"{top}.py").is_file())


def find_model_class(place: str) -> None:
    """Looks for the module of a registered class, "package.module:Class", without importing it.

    Raises:
        ValueError: there is no such module; one line for the user.
    """
    module = place.partition(":")[0]
    try:
        found = importlib.util.find_spec(module) is not None
    except ImportError:
        found = False
    if not found:
        raise ValueError(f"the model is registered as {place}, but there is no module '{module}'")


def _refuse_hidden(name: str, folder: Path | None) -> None:
    """Raises ValueError when the file beside the configuration is not what its name would import."""
    top = name.partition(".")[0]
    files = [folder / top / "__init__.py", folder / f"{top}.py"] if folder else []
    beside = next((file for file in files if file.is_file()), None)
    if beside is None:
        return
    loaded = sys.modules.get(top)
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(top)
    origin = spec.origin if spec else None
    if origin is None or Path(origin).resolve() != beside.resolve():
        raise ValueError(f"the name '{top}' is taken by {origin or 'another module'}; rename {beside}")


def _not_found(missing: str, folder: Path | None) -> str:
    """What is missing, where it was looked for, and what is there."""
    package = missing.rpartition(".")[0]
    if package:
        places, where = getattr(sys.modules.get(package), "__path__", []), f"is not in the package '{package}'"
    else:
        places = [str(folder)] if folder else []
        where = f"is neither installed nor in {folder}" if folder else "is not installed"
    there = sorted(f"{package}.{module.name}".lstrip(".") for module in pkgutil.iter_modules(places))
    meant = did_you_mean(missing, there)
    said = f" ({meant})" if meant else ""
    return f"no module '{missing}'{said}: it {where}; modules there: {', '.join(there[:10]) or 'none'}"


def _place(name: str, error: BaseException) -> str:
    """` (FILE, line N)`: the last line of the user's package that led to the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    spec = importlib.util.find_spec(name.partition(".")[0])
    places = (spec.submodule_search_locations or [spec.origin or ""]) if spec else []
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(tuple(places))]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
