"""Users' rows, spelled as tuples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.data.examples.requests import UserRows, split_by_user
from tfx_pipeline.data.logs.cleaning import CleanBatch


@pytest.fixture(scope="session")
def user_rows() -> Callable[..., UserRows]:
    """Returns user_rows(events, with_requests): rows of one user from (time, item, label[, request id or None]).

    `weights`: of the rows, where the log has them. `columns`: of the rows by name, strings or float32. `further`:
    labels of objectives beside the main one, by name; and `kinds`, of each further history which rows are events of it.

    They take the way of real rows: cut into batches of three, joined in reverse.
    """

    def build(
        events: Sequence[tuple],
        with_requests: bool = False,
        weights: Sequence[float] = (),
        columns: Mapping[str, Sequence] | None = None,
        further: Mapping[str, Sequence[int]] | None = None,
        kinds: Mapping[str, Sequence[int]] | None = None,
    ) -> UserRows:
        flags = {f"label/{name}": labels for name, labels in (further or {}).items()}
        flags |= {f"of_history/{name}": own for name, own in (kinds or {}).items()}
        chunks = []
        for start in range(0, len(events), 3):
            part = events[start : start + 3]
            requests = [event[3] if len(event) > 3 else None for event in part]
            batch = CleanBatch(
                row=np.arange(start + 1, start + 1 + len(part)),
                user=pa.array([b"u"] * len(part), pa.large_binary()),
                item=pa.array([event[1].encode() for event in part], pa.large_binary()),
                time_us=np.array([event[0] for event in part], dtype=np.int64),
                label=np.array([event[2] for event in part], dtype=np.int8),
                request=pa.array(requests, pa.large_string()).cast(pa.large_binary()) if with_requests else None,
                weight=np.array(weights[start : start + 3], np.float32) if weights else None,
                columns={name: _column(values[start : start + 3]) for name, values in (columns or {}).items()}
                | {name: np.array(own[start : start + 3], np.float32) for name, own in flags.items()},
            )
            chunks.extend(chunk for _, chunk in split_by_user(batch, ordinal=0))
        return UserRows.from_chunks(chunks[::-1], [*(columns or ()), *flags])

    return build


def _column(values: Sequence) -> pa.Array | np.ndarray:
    if any(isinstance(value, float) for value in values):
        return np.array(values, np.float32)
    return pa.array([value and value.encode() for value in values], pa.large_binary())
