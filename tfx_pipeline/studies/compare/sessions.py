"""Whether the trainings of a comparison were timed alike: on one machine, within a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from tfx_pipeline.studies.bench.machine import machine_name

_ONE_SESSION = dt.timedelta(days=1)


def mixed_sessions(report: Mapping[str, Any]) -> list[str]:
    """Sentences that warn of training speeds that do not compare, since they are of several sessions.

    Args:
        report: of `tfx_pipeline.studies.compare.comparison.compare`; its trainings may be of earlier calls.
    """
    timed = [one for model in report["models"] for one in model["training"]["timed"]]
    machines = list(dict.fromkeys(machine_name(one["machine"]) for one in timed))
    moments = [dt.datetime.fromisoformat(one["at"]) for one in timed]
    first, last = min(moments), max(moments)
    sentences = []
    if len(machines) > 1:
        sentences.append(f"Training speeds do not compare: they are of different machines ({'; '.join(machines)}).")
    elif machines[0] != (here := machine_name(report["machine"])):
        sentences.append(f"Trainings were timed on another machine ({machines[0]}) than ranking ({here}).")
    if last - first > _ONE_SESSION:
        days = (last - first) / _ONE_SESSION
        sentences.append(
            f"Trainings were timed up to {days:.0f} days apart ({first:%Y-%m-%d} to {last:%Y-%m-%d}): what else the "
            "machine did may differ, so compare speeds with care."
        )
    return sentences
