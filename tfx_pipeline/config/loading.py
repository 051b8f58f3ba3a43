"""From a YAML file and `--set` overrides to a `PipelineConfig`, with every problem said at once."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dmf_keras.models import BUILT_IN
from tfx_pipeline.config.model import Model
from tfx_pipeline.config.problems import describe
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.errors import ConfigError

# Far above what a configuration is, and what takes a moment to read.
_LONGEST_FILE = 1 << 20
_MOST_NODES = 50_000


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses what unfolds without end, and a key given twice, which plain YAML resolves to the later.

    Every refusal is a `ConfigError` with its line.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        # Of nodes by identity, what they are once their aliases are unfolded.
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        assert node is not None, "an event begins a node"
        line = node.start_mark.line + 1
        if is_alias and id(node) not in self._sizes:
            raise ConfigError(f"line {line}: an alias stands inside of what it stands for")
        if id(node) not in self._sizes:
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            inner = [part for entry in parts for part in (entry if isinstance(entry, tuple) else [entry])]
            self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in inner)
        if self._sizes[id(node)] > _MOST_NODES:
            raise ConfigError(f"line {line}: aliases unfold to more than {_MOST_NODES:,} values; write it out")
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        # What PyYAML lets through of values that only look like dates or numbers: 2025-13-01, 0b, 1:99.
        except (ValueError, TypeError, OverflowError, IndexError, KeyError, AttributeError) as error:
            line = node.start_mark.line + 1
            shown = f"'{node.value}'" if isinstance(node, yaml.ScalarNode) else "a value"
            raise ConfigError(f"line {line}: {shown} cannot be read: {error}; put text into quotes") from None

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"line {line}: a key must be a word, not a list or a mapping")
            key = key_node.value
            if key in seen:
                raise ConfigError(f"line {line}: key '{key}' is given twice (first on line {seen[key]}); keep one")
            seen[key] = line
        return node


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Reads, overrides and validates a configuration file.

    Args:
        path: the YAML file; relative paths inside it are relative to its folder.
        overrides: `key.path=value` strings; values are YAML, a key that the schema lacks is refused as in the file.

    Returns:
        The validated, frozen configuration with absolute paths.

    Raises:
        ConfigError: with one line per problem: key path, what was given, what is allowed.
    """
    path = Path(path)
    text = _read(path)
    try:
        values = _parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise ConfigError(f"{path} must hold sections such as 'data:' and 'split:', got {found}")
    for override in overrides:
        _apply(values, override)
    try:
        return PipelineConfig.model_validate(values, context={"base_dir": path.resolve().parent})
    except ValidationError as error:
        problems = [describe(problem) for problem in error.errors()]
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError("\n  ".join([f"{path} has {count}:", *problems])) from None


def read_model_section(recorded: Mapping[str, Any]) -> Model:
    """The section `model` as a finished run recorded it; a model of somebody's own is registered by it.

    Args:
        recorded: the section's values. Runs of before `module_folder` was recorded lack it: their module has to be
            where Python finds it.

    Raises:
        ConfigError: the section is not one, or its module is gone; one line.
    """
    # An own module that stood in the configuration for a comparison need not be there.
    needed = {"module": None, "module_folder": None} if recorded.get("name") in BUILT_IN else {}
    try:
        return Model.model_validate({**recorded, **needed})
    except ValidationError as error:
        problem = error.errors()[0]
        advice = "; put the folder that holds the module into PYTHONPATH" if problem["loc"] == ("module",) else ""
        raise ConfigError(f"{describe({**problem, 'loc': ('model', *problem['loc'])})}{advice}") from None


def _read(path: Path) -> str:
    try:
        status = path.stat()
        # A pipe would wait for ever, and a device never end.
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"configuration '{path}' is not a file")
        if status.st_size > _LONGEST_FILE:
            raise ConfigError(
                f"configuration '{path}' has {status.st_size:,} bytes; expected at most {_LONGEST_FILE:,}"
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read configuration '{path}': {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from None
    except ValueError as error:
        raise ConfigError(f"cannot read configuration {str(path)!r}: {error}") from None


def _parse(text: str) -> Any:
    """YAML as plain values.

    Raises:
        ConfigError: it is no YAML, or has a key twice; the message says where.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{where}not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ConfigError("not valid YAML: it is nested too deeply") from None


def _apply(values: dict[str, Any], override: str) -> None:
    key_path, separator, text = override.partition("=")
    if not separator or not all(key_path.split(".")):
        raise ConfigError(f"--set wants key.path=value, got '{override}'")
    try:
        value = _parse(text)
    except ConfigError as error:
        raise ConfigError(f"--set {key_path}: value '{text}': {error}") from None
    *parents, last = key_path.split(".")
    section: Any = values
    for depth, key in enumerate(parents):
        # A section whose keys are all commented out is nothing to YAML.
        section[key] = {} if section.get(key) is None else section[key]
        section = section[key]
        if not isinstance(section, dict):
            where = ".".join(parents[: depth + 1])
            raise ConfigError(f"--set {key_path}: '{where}' is the value {section!r}, not a section")
    section[last] = value
