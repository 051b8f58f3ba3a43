"""What a model is told of the data: sizes of tables and names of columns. Free of Keras."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from dmf_keras.models.inputs import RESERVED

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_STORAGE_DTYPES = ("int8", "float16", "float32")


@dataclass(frozen=True)
class ModalitySpec:
    """One table of content vectors: their width and how they are stored ("int8", "float16" or "float32")."""

    width: int
    dtype: str = "float16"


@dataclass(frozen=True)
class RankingSchema:
    """Sizes and names that come from the data, as opposed to hyper-parameters.

    Args:
        item_rows: rows of the item embedding: padding (row 0), known ids and out-of-vocabulary rows.
        content_rows: rows of every content table, row 0 ("no content") included.
        modalities: name to width and storage of its content table.
        user_rows: rows of the user embedding, row 0 ("no user") included; None: users have no embedding.
        categorical: name to rows of its embedding, row 0 ("missing") included.
        numeric: names of scaled numbers.

    Raises:
        ValueError: all problems at once, each with what was received.
    """

    item_rows: int
    content_rows: int
    modalities: dict[str, ModalitySpec]
    user_rows: int | None = None
    categorical: dict[str, int] = field(default_factory=dict)
    numeric: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "numeric", tuple(self.numeric))
        counts: dict[str, Any] = {"item_rows": self.item_rows, "content_rows": self.content_rows}
        if self.user_rows is not None:
            counts["user_rows"] = self.user_rows
        counts |= {f"categorical.{name}": rows for name, rows in self.categorical.items()}
        counts |= {f"modalities.{name}.width": spec.width for name, spec in self.modalities.items()}
        problems = [
            f"{name} must be an integer of at least 1, got {count!r}"
            for name, count in counts.items()
            if isinstance(count, bool) or not isinstance(count, int) or count < 1
        ]
        problems += [
            f"modalities.{name}.dtype must be one of {', '.join(_STORAGE_DTYPES)}, got {spec.dtype!r}"
            for name, spec in self.modalities.items()
            if spec.dtype not in _STORAGE_DTYPES
        ]
        if not self.modalities:
            problems.append("modalities must name at least one, got none")
        columns = [*self.categorical, *self.numeric]
        for name in [*columns, *self.modalities]:
            if not _NAME.fullmatch(name):
                problems.append(f"names are letters, digits and underscores and begin with a letter, got {name!r}")
        problems += [f"column name {name!r} is taken by the model's own input" for name in columns if name in RESERVED]
        twice = sorted({name for name in columns if columns.count(name) > 1})
        problems += [f"column {name!r} is named more than once" for name in twice]
        if problems:
            raise ValueError("; ".join(problems))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them."""
        return {**asdict(self), "numeric": list(self.numeric)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RankingSchema:
        """The schema of `to_dict`'s values."""
        modalities = {name: ModalitySpec(**spec) for name, spec in values["modalities"].items()}
        return cls(**{**values, "modalities": modalities})
