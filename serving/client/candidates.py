"""What a caller gives of the candidates: ids, and a value for each of every column that the model takes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving.client.errors import BadRequest
from serving.client.text import check_text, is_text, shown
from serving.client.user import item_list

Content = Mapping[str, ArrayLike]
Columns = Mapping[str, Sequence[str | float | None] | NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The candidates of a call, in the order of the request.

    Attributes:
        items: ids.
        content: content vectors by modality, float32 [N, width].
        columns: values by candidate column, N each.
    """

    items: list[str]
    content: Mapping[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    columns: Mapping[str, list[Any]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, items: Iterable[str], content: Content | None, columns: Columns | None) -> Candidates:
        """Takes what a caller gives; names, widths and types are the model's to check.

        Raises:
            BadRequest: naming what is no id, no array with a row for each candidate, or no value for each candidate.
        """
        ids = item_ids("candidates", items, allow_empty=False)
        return cls(ids, _content(content, len(ids)), _columns(columns, len(ids)))

    def __len__(self) -> int:
        return len(self.items)

    def page(self, part: slice) -> Candidates:
        """Some of them, with what belongs to them."""
        return Candidates(
            self.items[part],
            {modality: array[part] for modality, array in self.content.items()},
            {name: values[part] for name, values in self.columns.items()},
        )


def item_ids(field: str, items: Any, *, allow_empty: bool) -> list[str]:
    """A list of ids.

    Raises:
        BadRequest: naming the first that is no string, no text or (unless allowed) empty: "" is padding.
    """
    ids = item_list(field, items)
    # One by one only where there is something to say: a thousand ids are a part of every call's time.
    if set(map(type, ids)) <= {str} and (allow_empty or "" not in ids) and is_text("".join(ids)):
        return ids
    for position, item in enumerate(ids):
        if not isinstance(item, str):
            raise BadRequest.of(
                field, f"{field}[{position}] must be a string, as item ids are, got {type(item).__name__} {shown(item)}"
            )
        check_text(field, item, f"{field}[{position}]")
        if not item and not allow_empty:
            raise BadRequest.of(field, f"{field}[{position}] is an empty string, which is padding and has no score")
    return ids


def _content(content: Content | None, count: int) -> dict[str, NDArray[np.float32]]:
    if content is not None and not isinstance(content, Mapping):
        raise BadRequest.of("content", f"content must map modalities to arrays, got {type(content).__name__}")
    arrays = {}
    for modality, values in (content or {}).items():
        field = f"content[{modality!r}]"
        try:
            # Beyond float32 is infinite, and refused below.
            with np.errstate(over="ignore"):
                array = np.asarray(values, np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadRequest.of(field, f"{field} must be an array of numbers: {error}") from error
        if array.ndim != 2 or len(array) != count:
            raise BadRequest.of(
                field, f"{field} must have shape [{count}, width], a row for each candidate; got {list(array.shape)}"
            )
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            raise BadRequest.of(
                field,
                f"{field} has NaN or infinite values (as float32), first in row {bad[0]}; a row of zeros means that "
                "the candidate keeps the content of the catalogue",
            )
        arrays[modality] = array
    return arrays


def _columns(columns: Columns | None, count: int) -> dict[str, list[Any]]:
    if columns is not None and not isinstance(columns, Mapping):
        raise BadRequest.of("columns", f"columns must map names to lists of values, got {type(columns).__name__}")
    lists = {}
    for name, values in (columns or {}).items():
        field = f"columns[{name!r}]"
        single = isinstance(values, np.ndarray) and not values.ndim
        if single or isinstance(values, str | bytes) or not isinstance(values, Iterable):
            raise BadRequest.of(field, f"{field} must be a list, got {type(values).__name__} {shown(values)}")
        lists[name] = values.tolist() if isinstance(values, np.ndarray) else list(values)
        if len(lists[name]) != count:
            raise BadRequest.of(
                field, f"{field} must have {count} values, one for each candidate; got {len(lists[name])}"
            )
    return lists
