"""Dataclasses as the JSON of a report file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import pydantic

from tfx_pipeline.files.json_values import plain

_LONGEST_VALUE = 80


class RecordError(ValueError):
    """JSON that is not what a record says it is."""


class JsonRecord:
    """Base of the dataclasses that report files are made of: an attribute is an entry of the same name.

    Attributes may be records, plain values, and sequences and mappings of them.
    """

    def to_json(self) -> dict[str, Any]:
        """JSON-able values in the order of the attributes; a number that JSON does not know, such as NaN, is None."""
        values: dict[str, Any] = plain(_ADAPTERS[type(self)].dump_python(self, mode="json"))
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`. Entries that no attribute is named after are passed over.

        Raises:
            RecordError: an entry is missing, or is of another kind; the message names it.
        """
        try:
            record: Self = _ADAPTERS[cls].validate_python(values)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "all of it"
            raise RecordError(f"{place}: {first['msg']}, got {_short(first['input'])}") from None
        return record


class _Adapters(dict[type[JsonRecord], pydantic.TypeAdapter[Any]]):
    """Of every class that was asked for; to make one takes milliseconds."""

    def __missing__(self, cls: type[JsonRecord]) -> pydantic.TypeAdapter[Any]:
        self[cls] = pydantic.TypeAdapter(cls)
        return self[cls]


_ADAPTERS = _Adapters()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
