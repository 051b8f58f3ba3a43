"""The section of a run's page about what the model had to reach before it could be pushed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfx_pipeline.config.metrics import METRICS
from tfx_pipeline.evaluation.demands import Demand
from tfx_pipeline.pages.kit.page import Block, Prose, Section, Table

_ANCHOR, _TITLE = "demands", "What it had to reach"


def demands_section(demands: Sequence[Demand] | None, gate: Mapping[str, Any] | None) -> Section:
    """Thresholds of the Evaluator and the figures of the serving gate.

    Args:
        demands: thresholds with what was found; None: the run was not evaluated.
        gate: report of the gate; None: the run has none.
    """
    blocks: list[Block] = []
    if demands is None:
        blocks.append(Prose("The run was not evaluated."))
    elif not demands:
        blocks.append(Prose("No threshold is set: any model that passes the serving gate is pushed."))
    else:
        rows = [
            (METRICS[one.metric].title if one.metric in METRICS else one.metric, one.expected, one.found or "nothing")
            for one in demands
        ]
        verdicts = ["reached" if one.met else "missed" for one in demands]
        table = [(verdict, *row) for verdict, row in zip(verdicts, rows, strict=True)]
        blocks.append(Table("Thresholds on test", ("verdict", "metric", "expected", "found"), table, numbers=1))
    if gate is not None:
        blocks.append(_gate(gate))
    return Section(_ANCHOR, _TITLE, blocks)


def _gate(gate: Mapping[str, Any]) -> Prose:
    if gate["problems"]:
        return Prose(f"The serving gate refused the exported model: {' '.join(gate['problems'])}", "bad")
    differences = gate.get("max_difference", {}).values()
    largest = f"; scores differ by at most {max(differences):.1g} from those of training" if differences else ""
    return Prose(f"The exported model passed the serving gate on {gate['golden_requests']} requests{largest}.", "good")
