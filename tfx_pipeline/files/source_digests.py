"""Digests of source code: of a module with all that it imports, or of a package of somebody else's.

A module's import closure is read from the sources: nothing is imported. It follows every `import` of this project's
packages, also those inside functions, but not those under `if TYPE_CHECKING:`, which no running program executes.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the project's packages."""
PACKAGES = ("dmf_keras", "serving", "tfx_pipeline")
_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def code_digest(modules: Iterable[str], ignore: Collection[str] = ()) -> str:
    """16 hex digits of the sources in the import closure of `modules`; see `import_closure`."""
    return files_digest(ROOT, import_closure(modules, ignore))


def import_closure(modules: Iterable[str], ignore: Collection[str] = ()) -> list[Path]:
    """The project's source files that importing `modules` may execute, sorted.

    Args:
        modules: dotted names; they are part of the closure even when `ignore` covers them.
        ignore: modules and packages that are left out, with whatever only they import.

    Raises:
        ValueError: one of `modules` does not exist.
    """
    sources = _Sources()
    found: set[Path] = set()
    to_read: list[str] = []
    for module in modules:
        if sources[module] is None:
            raise ValueError(f"{module}: no such module below {ROOT}")
        to_read.append(module)
    while to_read:
        module = to_read.pop()
        for part in _with_packages(module):
            source = sources[part]
            if source is None or source in found:
                continue
            found.add(source)
            to_read += [name for name in _imported(source, part, sources) if not _within(name, ignore)]
    return sorted(found)


def module_digest(name: str) -> str:
    """Of the package that a module is or lies in, sub-packages included; of its one file if it lies in none.

    For modules that are not this project's. Files are named by their place inside the package: where the package lies
    does not count.
    """
    spec = find_spec(name)
    assert spec is not None, f"{name} has been imported"
    if spec.parent:
        package = find_spec(spec.parent)
        assert package is not None and package.submodule_search_locations is not None
        folders = [Path(folder) for folder in package.submodule_search_locations]
        return "-".join(files_digest(folder, sorted(folder.rglob("*.py"))) for folder in folders)
    assert spec.origin is not None, f"{name} has a source file"
    file = Path(spec.origin)
    return files_digest(file.parent, [file])


def files_digest(root: Path, files: Iterable[Path]) -> str:
    """16 hex digits of the names below `root` and the contents of files, in the order given."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(root)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _with_packages(module: str) -> list[str]:
    """The packages that Python imports before the module, and the module."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


class _Sources(dict[str, Path | None]):
    """By module, its source file; None: it has none here. Each is looked for once."""

    def __missing__(self, module: str) -> Path | None:
        self[module] = source = _source(module)
        return source


def _source(module: str) -> Path | None:
    if module.partition(".")[0] not in PACKAGES:
        return None
    base = ROOT.joinpath(*module.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _within(module: str, names: Collection[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def _imported(source: Path, module: str, sources: _Sources) -> list[str]:
    """Modules of this project that a file imports."""
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    found: list[str] = []
    for name, attribute in _imports(source, package)[0]:
        whole = f"{name}.{attribute}" if attribute else name
        if sources[whole] is not None:
            found.append(whole)
        elif sources[name] is not None:
            found += [name, *_lazy(name, attribute, sources)]
    return found


def _lazy(package: str, attribute: str, sources: _Sources) -> Iterator[str]:
    """The module behind a name that a package loads on first use: such names its TYPE_CHECKING block imports."""
    source = sources[package]
    if source is not None and source.name == "__init__.py":
        yield from (name for name, imported in _imports(source, package)[1] if imported == attribute)


def _imports(source: Path, package: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    state = source.stat()
    return _parsed_imports(source, package, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _parsed_imports(
    source: Path, package: str, mtime_ns: int, size: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Imports of a file, and those that only type checkers see: pairs of a module and a name in it, or ""."""
    executed: list[tuple[str, str]] = []
    typing_only: list[tuple[str, str]] = []
    to_visit: list[tuple[ast.AST, list[tuple[str, str]]]] = [(ast.parse(source.read_bytes()), executed)]
    while to_visit:
        node, into = to_visit.pop()
        if isinstance(node, ast.Import):
            into += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            into += [(base, alias.name) for alias in node.names]
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            to_visit += [(child, typing_only) for child in node.body] + [(child, into) for child in node.orelse]
        else:
            # An import is a statement: expressions, which are most of a tree, hold none.
            to_visit += [(child, into) for child in ast.iter_child_nodes(node) if isinstance(child, _STATEMENTS)]
    return executed, typing_only
