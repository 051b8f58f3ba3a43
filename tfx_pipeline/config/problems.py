"""What pydantic found wrong, as sentences: key path, what is allowed, what was given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.spelling import did_you_mean

_LONGEST_VALUE = 100


def describe(problem: Mapping[str, Any]) -> str:
    """One entry of `ValidationError.errors()` on a `PipelineConfig`, in one line."""
    *parents, last = problem["loc"] or [""]
    context = problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            return _unknown_key(parents, last)
        case "missing":
            return f"{_key(problem['loc'])}: required, but absent"
        case "value_error" if last == "[key]":
            return _unknown_key(parents[:-1], parents[-1])
        case "union_tag_not_found":
            return f"{_key(problem['loc'])}.kind: required, but absent; should be {_kinds(problem['loc'])}"
        case "union_tag_invalid":
            return f"{_key(problem['loc'])}.kind: should be {_kinds(problem['loc'])} (given: {_shown(context['tag'])})"
        case "model_type" | "model_attributes_type" | "dict_type":
            keys = _allowed_keys(problem["loc"])
            wanted = f"keys such as {', '.join(keys[:3])}" if keys else "keys of your choice"
            return f"{_key(problem['loc'])}: should be a section with {wanted} (given: {_shown(problem['input'])})"
        case "path_type":
            message = "should be a path"
        case "value_error":
            message = str(context["error"])
        case "invalid_key":
            message = "a key should be a word"
        case _:
            message = re.sub(r"^\w+ (?=should)", "", problem["msg"]).replace(" after validation", "")
    # A rule about a whole section says itself which of its values it means.
    about_section = problem["type"] == "value_error" and isinstance(problem["input"], dict | BaseModel)
    key = _key(problem["loc"])
    given = "" if about_section else f" (given: {_shown(problem['input'])})"
    return f"{key}: {message}{given}" if key else f"{message}{given}"


def _close_match(word: object, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    meant = did_you_mean(word, known)
    return f"; {meant}" if meant else ""


def _unknown_key(section: list[Any], name: Any) -> str:
    allowed = _allowed_keys(section)
    return f"{_key([*section, name])}: unknown key{_close_match(name, allowed)}; allowed: {', '.join(allowed)}"


def _shown(value: Any) -> str:
    """As in YAML, where that differs from Python."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _key(location: Iterable[Any]) -> str:
    return ".".join(_walk(location)[0])


def _allowed_keys(location: Iterable[Any]) -> list[str]:
    """Names that the section at `location` may hold; empty where any name goes."""
    kind = _walk(location)[1]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    if get_origin(kind) in (Union, UnionType):
        return ["kind"]
    names = get_args(kind)[0] if get_origin(kind) is dict else str
    return list(TypeAdapter(names).json_schema().get("enum", ()))


def _kinds(location: Iterable[Any]) -> str:
    alternatives = get_args(_walk(location)[1])
    return " or ".join(f"'{tag}'" for section in alternatives for tag in _tags(section))


def _tags(section: type[BaseModel]) -> tuple[str, ...]:
    return get_args(section.model_fields["kind"].annotation)


def _walk(location: Iterable[Any]) -> tuple[list[str], Any]:
    """The keys a user would write for pydantic's `location`, and the type that the schema has there.

    Pydantic also puts in the tag of a union's chosen member, and `[key]` for a mapping's key itself.
    """
    keys: list[str] = []
    kind: Any = PipelineConfig
    for part in location:
        if get_origin(kind) in (Union, UnionType):
            kind = next(section for section in get_args(kind) if part in _tags(section))
            continue
        if part == "[key]":
            continue
        keys.append(str(part))
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = _plain(kind.model_fields[part].annotation) if part in kind.model_fields else None
        else:
            kind = _plain(get_args(kind)[-1]) if get_args(kind) else None
    return keys, kind


def _plain(annotation: Any) -> Any:
    """Without what pydantic is told beside the type, and without None as an alternative."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return _plain(members[0]) if len(members) == 1 else annotation
    return annotation
