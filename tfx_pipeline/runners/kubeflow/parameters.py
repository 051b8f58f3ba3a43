"""What a run on a cluster may set: places in a step's parameters that are filled in when it begins.

TFX takes the whole value of a step's parameter from a run, and ours are sections of the configuration as JSON. So the
compiled value has a mark where a run's value belongs, and the step that has one takes that parameter of the run as a
parameter of its own: it is among what Kubeflow's cache looks at, and no other step runs again when it changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DATA_ROOT, DATA_VERSION, PUSH_DIR = "data_root", "data_version", "push_dir"
SEED, EVAL_FROM, TEST_FROM = "seed", "eval_from", "test_from"
PARAMETERS = (DATA_ROOT, DATA_VERSION, PUSH_DIR, SEED, EVAL_FROM, TEST_FROM)

_MARK = "dmf-parameter:"
# Where they stand in a section: its last keys.
_BY_KEYS: dict[tuple[str, ...], str] = {
    ("training", "seed"): SEED,
    ("dates", "eval_from"): EVAL_FROM,
    ("dates", "test_from"): TEST_FROM,
}


def mark(parameter: str) -> str:
    """The text that stands for the parameter's value."""
    return _MARK + parameter


class Marked(NamedTuple):
    """A value with marks, the parameters that they are of, and the absolute paths that got none."""

    value: Any
    parameters: frozenset[str]
    elsewhere: frozenset[str]


def with_marks(value: Any, data_dir: Path) -> Marked:
    """Marks what a run sets.

    Args:
        value: of a step's parameter: JSON as text, which may hold further JSON as text, or a plain value.
        data_dir: folder that `data_root` stands for.
    """
    found, elsewhere = set[str](), set[str]()

    def visit(keys: tuple[str, ...], leaf: Any) -> Any:
        name = _BY_KEYS.get(keys[-2:])
        if name is not None and leaf is not None:
            found.add(name)
            return mark(name)
        if isinstance(leaf, str) and Path(leaf).is_absolute() and Path(leaf).is_relative_to(data_dir):
            found.add(DATA_ROOT)
            below = Path(leaf).relative_to(data_dir).as_posix()
            return mark(DATA_ROOT) if below == "." else f"{mark(DATA_ROOT)}/{below}"
        if isinstance(leaf, str) and leaf.startswith(_MARK):
            found.add(leaf.removeprefix(_MARK).partition("/")[0])
        elif isinstance(leaf, str) and Path(leaf).is_absolute():
            elsewhere.add(leaf)
        return leaf

    return Marked(_mapped(value, visit), frozenset(found), frozenset(elsewhere))


def with_values(
    value: Any, values: Mapping[str, Any], keys: tuple[str, ...], visit_path: Callable[[tuple[str, ...], str], None]
) -> Any:
    """Inverse of `with_marks`, with the values of a run.

    Args:
        value: with marks.
        values: by parameter.
        keys: under which the value stands.
        visit_path: is told the keys and the path of everything below `data_root`.

    Raises:
        KeyError: a mark's parameter is not among `values`.
    """

    def visit(inner: tuple[str, ...], leaf: Any) -> Any:
        if not isinstance(leaf, str) or not leaf.startswith(_MARK):
            return leaf
        name, slash, below = leaf.removeprefix(_MARK).partition("/")
        if name != DATA_ROOT:
            return values[name]
        path = f"{str(values[name]).rstrip('/')}{slash}{below}"
        visit_path(inner, path)
        return path

    return _mapped(value, visit, keys)


def _mapped(value: Any, visit: Callable[[tuple[str, ...], Any], Any], keys: tuple[str, ...] = ()) -> Any:
    """The value with each leaf as `visit` has it; a text that holds JSON of which nothing changes stays as it is."""
    if isinstance(value, dict):
        return {name: _mapped(inner, visit, (*keys, name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(inner, visit, keys) for inner in value]
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            parsed = json.loads(value)
        except ValueError:
            return visit(keys, value)
        mapped = _mapped(parsed, visit, keys)
        return value if mapped == parsed else json.dumps(mapped)
    return visit(keys, value)
