"""Writes docs/CONFIG.md: every key of the configuration, from the schema that checks it.

Values, bounds and defaults come from `tfx_pipeline.config.schema`; so does the meaning of a key or, where the schema
gives none, from the comment beside it in `pipeline_config.yaml`. Parameters of models come from their dataclasses.

    .venv/bin/python -m tools.config_reference            # writes the file
    .venv/bin/python -m tools.config_reference --check    # exit status 1 when the file is not up to date
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from dmf_keras.models.registry import model_config, model_names

ROOT = Path(__file__).resolve().parents[1]
DEFAULTS = ROOT / "pipeline_config.yaml"
REFERENCE = ROOT / "docs" / "CONFIG.md"
# Stands in a key's path for what the user names: a column, a modality, a metric.
NAME = "NAME"

# Pydantic writes a bound under its own name where a validator stands before the number's type.
_BOUNDS = {
    "minimum": "at least",
    "ge": "at least",
    "exclusiveMinimum": "above",
    "gt": "above",
    "maximum": "at most",
    "le": "at most",
    "exclusiveMaximum": "below",
    "lt": "below",
}

_INTRODUCTION = """# Configuration

<!-- Written by `.venv/bin/python -m tools.config_reference`; edit the schema or pipeline_config.yaml instead. -->

Terms are explained in the [glossary](GLOSSARY.md).

One YAML file describes a run. [`pipeline_config.yaml`](../pipeline_config.yaml) is the commented default, which the
demo runs; [`examples/`](../examples) holds others. To check a file without running anything:

```
.venv/bin/dmf config check pipeline_config.yaml
.venv/bin/dmf config check pipeline_config.yaml --data
.venv/bin/dmf config check pipeline_config.yaml --set training.epochs=2 --set 'features.user={}'
```

- Unknown keys, wrong types, values out of bounds and impossible combinations are refused with exit status 2: one line
  per problem, with the key's path, what was given and what is allowed. A key given twice is refused too.
- `--set KEY.PATH=VALUE` overrides one key of `dmf config check`, `dmf run` or `dmf demo`, and may be repeated. VALUE is
  YAML.
- Relative paths are relative to the folder of the file, those of `--set` too. Times without an offset are UTC.
- `NAME` stands for a name of your choice: letters, digits and underscores, beginning with a letter.
"""


class _Row(NamedTuple):
    key: str
    value: str
    default: str
    meaning: str


def reference() -> str:
    """The whole text of docs/CONFIG.md."""
    # By name: mypy checks what it follows, and understands pydantic's classes only with a plugin.
    schema = import_module("tfx_pipeline.config.schema").PipelineConfig.model_json_schema()
    keys = _Keys(schema["$defs"], key_comments(DEFAULTS.read_text(encoding="utf-8")))
    rows = list(keys.of_section("", schema))
    parts = [_INTRODUCTION, "## The run\n", _table([row for row in rows if "." not in row.key])]
    for section in (row for row in rows if "." not in row.key):
        inner = [row for row in rows if row.key.startswith(f"{section.key}.")]
        # Of a mapping, too, whose keys are names of the user's choice.
        if inner:
            parts += [f"## {section.key}\n\n{_sentences(section.meaning)}\n", _table(inner)]
    return "\n".join([*parts, *map(_model_parameters, model_names())])


def key_comments(text: str) -> dict[str, str]:
    """Key path -> the comment at the end of its line, for YAML whose optional keys may be commented out.

    Names of columns, modalities and metrics become `NAME`; the first comment on a path is taken.
    """
    comments: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = re.match(r"( *)(# )?([a-z_]+):(?= |$)[^#]*(?:# (.*))?", line)
        if not found:
            continue
        indent, commented_out, key, comment = len(found[1]), found[2], found[3], found[4]
        while parents and parents[-1][0] >= indent:
            parents.pop()
        path = ".".join([*(parent for _, parent in parents), key])
        path = re.sub(
            r"(features\.user|features\.context|features\.candidate|modalities|thresholds)\.\w+", rf"\1.{NAME}", path
        )
        if not commented_out:
            parents.append((indent, key))
        if comment:
            comments.setdefault(path, comment.strip())
    return comments


class _Keys:
    """The keys of the configuration as rows, in the order of the schema.

    Args:
        definitions: `$defs` of the JSON schema.
        comments: of `key_comments`, for keys that the schema does not describe.
    """

    def __init__(self, definitions: dict[str, Any], comments: dict[str, str]):
        self._definitions = definitions
        self._comments = comments
        self._named: dict[str, str] = {}

    def of_section(self, prefix: str, section: dict[str, Any]) -> Iterator[_Row]:
        """The keys of a section, depth first."""
        for name, field in section["properties"].items():
            key = prefix + name
            default = "required" if name in section.get("required", ()) else _default(field)
            kinds = _without_null(field)
            if "$ref" in kinds[0]:
                inner = self._definition(kinds[0])
                yield _Row(key, "section", default, _sentences(inner["description"], field.get("description", "")))
                yield from self.of_section(f"{key}.", inner)
                continue
            meaning = field.get("description") or self._comment(key)
            yield _Row(key, " or ".join(map(_value, kinds)), default, meaning)
            for section_of_it in (self._definition(kind) for kind in kinds if "$ref" in kind):
                yield from self._of_alternative(key, section_of_it)
            named = kinds[0].get("additionalProperties")
            # Plain values, and those of any kind as hyper-parameters are, have no keys to list.
            if isinstance(named, dict) and ("$ref" in named or "oneOf" in named):
                yield from self._of_named(f"{key}.{NAME}", named)

    def _of_alternative(self, key: str, section: dict[str, Any]) -> Iterator[_Row]:
        """The keys of a section that may be given in place of a plain value; those of one that was listed: where."""
        first = self._named.setdefault(section["title"], key)
        if first == key:
            yield from self.of_section(f"{key}.", section)
        else:
            yield _Row(f"{key}.{NAME}", "", "", f"As `{first}`.")

    def _of_named(self, key: str, kind: dict[str, Any]) -> Iterator[_Row]:
        """The keys of what is under a name of the user's choice: a section, or one of several told apart by `kind`."""
        first = self._named.setdefault(json.dumps(kind, sort_keys=True), key)
        if first != key:
            yield _Row(key, "section", "", f"As `{first}`.")
            return
        choices = [self._definition(choice) for choice in kind.get("oneOf", [kind])]
        if len(choices) == 1:
            yield _Row(key, "section", "", choices[0]["description"])
            yield from self.of_section(f"{key}.", choices[0])
            return
        kinds = [choice["properties"]["kind"] for choice in choices]
        tags = [kind["const"] for kind in kinds]
        default = next((_default(kind) for kind in kinds if "default" in kind), "required")
        meanings = [f"`{tag}`: {choice['description']}" for tag, choice in zip(tags, choices, strict=True)]
        yield _Row(f"{key}.kind", ", ".join(f"`{tag}`" for tag in tags), default, " ".join(meanings))
        rows: dict[_Row, list[str]] = {}
        for tag, choice in zip(tags, choices, strict=True):
            rest = {name: field for name, field in choice["properties"].items() if name != "kind"}
            required = [name for name in choice.get("required", ()) if name in rest]
            for row in self.of_section(f"{key}.", {"properties": rest, "required": required}):
                rows.setdefault(row, []).append(f"`{tag}`")
        for row, of in rows.items():
            only = f"{' and '.join(of)} only" if len(of) < len(tags) else ""
            yield row._replace(meaning="; ".join(filter(None, [only, row.meaning])))

    def _definition(self, reference: dict[str, Any]) -> dict[str, Any]:
        definition: dict[str, Any] = self._definitions[reference["$ref"].rpartition("/")[2]]
        return definition

    def _comment(self, key: str) -> str:
        """Of the key itself, or of one of the same name in the same top-level section."""
        section, name = key.partition(".")[0], key.rpartition(".")[2]
        alike = (text for path, text in self._comments.items() if re.fullmatch(rf"{section}\..*\.{name}", path))
        return self._comments.get(key) or next(alike, "")


def _without_null(field: dict[str, Any]) -> list[dict[str, Any]]:
    return [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]


def _value(kind: dict[str, Any]) -> str:
    """What may be given, in words."""
    if "$ref" in kind:
        return "section"
    if "enum" in kind:
        return ", ".join(f"`{choice}`" for choice in kind["enum"])
    if kind["type"] == "array":
        return f"list of {_value(kind['items'])}" if kind["items"] else "list"
    if kind["type"] == "object":
        names = kind.get("propertyNames", {}).get("enum")
        return f"mapping, names: {', '.join(names)}" if names else "mapping"
    words = {"string": "text", "boolean": "`true`, `false`", "number": "number", "integer": "integer"}
    text = {"path": "path", "date-time": "time"}.get(kind.get("format", ""), words[kind["type"]])
    if "pattern" in kind:
        text += f" like `{kind['pattern']}`"
    if kind.get("maxLength") == 1:
        text = "one character"
    limits = [f"{limit} {kind[bound]:.15g}" for bound, limit in _BOUNDS.items() if bound in kind]
    return " ".join([text, " and ".join(limits)]).strip()


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None:
        return "absent"
    # Of a section every key has its own line; what is left are mappings and lists.
    if isinstance(value, dict) and "$ref" in field:
        return ""
    plain = _without_nulls(value)
    return f"`{plain if isinstance(plain, str) else json.dumps(plain)}`"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value


def _sentences(*texts: str) -> str:
    """The texts that are not empty, as sentences of one paragraph."""
    return " ".join(f"{text[:1].upper()}{text[1:].rstrip('.')}." for text in texts if text)


def _model_parameters(name: str) -> str:
    """The parameters of a model as a section; their meaning is in the `Args:` of its dataclass or of a base of it."""
    defaults = model_config(name, {})
    meanings: dict[str, str] = {}
    for base in reversed(type(defaults).__mro__):
        described = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", inspect.cleandoc(base.__doc__ or ""), re.MULTILINE)
        meanings |= {key: " ".join(text.split()) for key, text in described}
    lines = [
        _line(f"`{field.name}`", f"`{json.dumps(getattr(defaults, field.name))}`", meanings.get(field.name, ""))
        for field in dataclasses.fields(defaults)
    ]
    head = ["| parameter | default | meaning |", "|---|---|---|"]
    return "\n".join([f"## model.params of `{name}`\n", *head, *lines, ""])


def _table(rows: list[_Row]) -> str:
    head = ["| key | value | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *(_line(f"`{row.key}`", *row[1:]) for row in rows), ""])


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    """Writes the file, or with `--check` compares it; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write docs/CONFIG.md from the configuration's schema.")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when the file is not up to date")
    text = reference()
    if parser.parse_args().check:
        if REFERENCE.exists() and REFERENCE.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(f"{REFERENCE} is not up to date; run: python -m tools.config_reference\n")
        return 1
    partial = REFERENCE.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, REFERENCE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
