"""Rows of the user table -> profiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.cleaning import refusing_column
from tfx_pipeline.data.logs.files import LogFile
from tfx_pipeline.data.logs.reader import RawBatch
from tfx_pipeline.data.logs.several_values import several_names
from tfx_pipeline.data.logs.tally import Tally

# A profile as it is grouped: (file ordinal, row, values in the order of the configuration). A plain tuple, as coders of
# Beam are fast for it.
Profile = tuple[int, int, tuple[Any, ...]]


def read_profiles(
    batch: RawBatch, file: LogFile, config: IngestionConfig, tally: Tally
) -> Iterator[tuple[str, Profile]]:
    """(user, profile) of each row that has a user.

    Args:
        batch: of the user table.
        file: it is of.
        config: with a user table.
        tally: counts the rows without a user, and values that are no number and so are missing.

    Raises:
        DataError: the values of a column cannot be read at all.
    """
    assert config.data.users is not None, "there is a user table"
    id_column = config.data.users.id_column
    columns = [_column(batch, file, config, name, kind, tally) for name, kind in config.profile.items()]
    with refusing_column(file, id_column, batch):
        users = values.text(batch.columns[id_column]).to_pylist()
    for row, user, *profile in zip(batch.rows.tolist(), users, *columns, strict=True):
        if user is None:
            tally.add("profiles", "null_user")
        else:
            yield user, (file.ordinal, row, tuple(profile))


def first_profile(profiles: Iterable[Profile], config: IngestionConfig) -> dict[str, Any] | None:
    """Of a user's profiles the first by file and row; None without any.

    By column bytes, a float, None or NaN; of several values a list of bytes.
    """
    first = min(profiles, key=lambda profile: profile[:2], default=None)
    return None if first is None else dict(zip(config.profile, first[2], strict=True))


def _column(batch: RawBatch, file: LogFile, config: IngestionConfig, name: str, kind: str, tally: Tally) -> list[Any]:
    column = config.column(name)
    with refusing_column(file, column, batch):
        if name in config.multiple:
            lists: list[Any] = several_names(batch.columns[column], config.multiple[name]).to_pylist()
            return lists
        if kind == "categorical":
            texts: list[Any] = values.text(batch.columns[column]).cast(pa.large_binary()).to_pylist()
            return texts
        numbers, unusable = values.numbers(batch.columns[column])
        tally.add("not_a_number", name, count=unusable)
        return list(numbers.tolist())
