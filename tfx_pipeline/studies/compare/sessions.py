"""Whether the trainings of a comparison were timed alike: on one machine, within a day."""

from __future__ import annotations

import datetime as dt

from tfx_pipeline.studies.compare.report import Report

_ONE_SESSION = dt.timedelta(days=1)


def mixed_sessions(report: Report) -> list[str]:
    """Sentences that warn of training speeds that do not compare, since they are of several sessions.

    Args:
        report: its trainings may be of earlier calls.
    """
    timed = [one for model in report.models for one in model.training.timed]
    machines = list(dict.fromkeys(one.machine.name for one in timed))
    moments = [dt.datetime.fromisoformat(one.at) for one in timed]
    first, last = min(moments), max(moments)
    sentences = []
    if len(machines) > 1:
        sentences.append(f"Training speeds do not compare: they are of different machines ({'; '.join(machines)}).")
    elif machines[0] != (here := report.machine.name):
        sentences.append(f"Trainings were timed on another machine ({machines[0]}) than ranking ({here}).")
    if last - first > _ONE_SESSION:
        days = (last - first) / _ONE_SESSION
        sentences.append(
            f"Trainings were timed up to {days:.0f} days apart ({first:%Y-%m-%d} to {last:%Y-%m-%d}): what else the "
            "machine did may differ, so compare speeds with care."
        )
    return sentences
