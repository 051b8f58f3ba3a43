"""Errors of the pipeline are found in what Beam makes of them."""

from __future__ import annotations

import traceback

import pytest

from tfx_pipeline.errors import DataError, own_error


def _of_a_worker(message: str) -> str:
    """What a runner says of a worker's error: the text of its traceback, as Beam adds the step to the message."""
    try:
        try:
            raise DataError(message)
        except DataError as error:
            raise DataError(f"{error} [while running 'Step/ParDo(Check)']") from error
    except DataError:
        return f"Pipeline job-1 failed in state FAILED: bundle 7 failed:{traceback.format_exc()}\n"


@pytest.mark.parametrize("message", ["row 7 has no user", "two faults:\n  row 7 has no user\n  row 8 has no item"])
def test_an_error_of_a_worker_in_another_process_keeps_kind_and_message(message: str) -> None:
    found = own_error(RuntimeError(_of_a_worker(message)))
    assert type(found) is DataError
    assert str(found) == message


def test_an_error_in_a_chain_is_found_and_others_are_not() -> None:
    ours = DataError("no rows")
    theirs = RuntimeError("step failed")
    theirs.__cause__ = ours
    assert own_error(theirs) is ours
    assert own_error(RuntimeError("a DataError: of somebody else")) is None
