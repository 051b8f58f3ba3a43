"""What the sections of the configuration are made of: the types of their values, and their base class."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
)

from tfx_pipeline.errors import DataError
from tfx_pipeline.files.addresses import scheme
from tfx_pipeline.files.mirror import STORES, address_of, mirrored


def _stored(path: Path, info: ValidationInfo) -> Path:
    store, colon, name = path.as_posix().partition(":")
    if not (colon and store in STORES):
        if other := scheme(path):
            known = ", ".join(f"{one}://" for one in STORES)
            raise ValueError(f"{other}:// is not known; expected {known} or a local path")
        return _absolute(path, info)
    # Of the two slashes a path has kept one, and none where nothing follows.
    if not name.startswith("/") or not name.strip("/"):
        raise ValueError(f"{path.as_posix()!r} names no bucket; expected {store}://BUCKET/...")
    try:
        return mirrored(path)
    except DataError as error:
        raise ValueError(str(error)) from None


def _absolute(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base_dir", Path.cwd())
    if store := scheme(path):
        raise ValueError(f"{store}:// cannot stand here; give a local path, to which the store may be mounted")
    try:
        return Path(base, path.expanduser()).resolve() if not path.is_absolute() else path
    except RuntimeError:
        raise ValueError("there is no user of that name, whose home folder the path could begin with") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"is no path: {getattr(error, 'strerror', None) or error}") from None


def _no_boolean(value: Any) -> Any:
    # Pydantic takes true for 1, and YAML takes yes and on for true.
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _no_number(value: Any) -> Any:
    # Pydantic takes 20250325 for that many seconds since 1970.
    if isinstance(value, int | float) or (isinstance(value, str) and value.strip().isdigit()):
        raise ValueError("should be a date or time such as 2025-03-25 or 2025-03-25T12:00:00, not a number")
    return value


def _utc(value: dt.datetime) -> dt.datetime:
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


# Hyper-parameters of a registered model, whose own configuration checks them: plain values by name.
Params = dict[str, Any]
ConfigPath = Annotated[Path, AfterValidator(_absolute)]
# Of data and pushed versions, which may lie on an object store: then the path is that of its mirror.
StoredPath = Annotated[
    Path,
    AfterValidator(_stored),
    # What is recorded is the address: another machine has its mirror elsewhere.
    PlainSerializer(lambda path: address_of(path) or str(path), str, when_used="json"),
]
UtcTime = Annotated[dt.datetime, BeforeValidator(_no_number), AfterValidator(_utc)]
Integer = Annotated[int, BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean)]
Fraction = Annotated[Number, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of every section: frozen, refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # Keys that configurations did not always have. At their default they are not written: what is recorded of a step or
    # a training, and looked for again, stays what it was.
    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _as_before_later_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for name in self.later:
            if getattr(self, name) == type(self).model_fields[name].get_default(call_default_factory=True):
                values.pop(name, None)
        return values
