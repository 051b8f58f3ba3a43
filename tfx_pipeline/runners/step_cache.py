"""TFX's cache: what an earlier run left for a step whose inputs, parameters and code are unchanged."""

from __future__ import annotations

from collections.abc import Iterable

from tfx.orchestration.portable.mlmd import execution_lib

from tfx_pipeline.runners.history import Execution


def order_by_id() -> None:
    """Makes TFX's cache take the outputs of the last execution, whatever the clock said when it was registered.

    TFX sorts executions by the time of their creation. After a clock went back, a step that was run anew is "older"
    than what it replaces: every later run would take the outputs that were replaced, and refuse them where they are
    damaged, which is why the step was run anew. Ids only grow.
    """
    execution_lib.sort_executions_newest_to_oldest = _newest_to_oldest


def _newest_to_oldest(executions: Iterable[Execution]) -> list[Execution]:
    return sorted(executions, key=lambda execution: execution.id, reverse=True)
