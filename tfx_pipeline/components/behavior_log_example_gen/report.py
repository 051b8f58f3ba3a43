"""What a run of ingestion tells: `report.json`, and the reasons to stop."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.data.examples.audit import RULES
from tfx_pipeline.data.logs.quarantine import REASONS, check_bad_fraction
from tfx_pipeline.data.logs.tally import Tally
from tfx_pipeline.errors import DataError, LeakageError

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def build_report(tally: Tally) -> dict[str, Any]:
    """The contents of `report.json`.

    Args:
        tally: of all steps of the run.

    Returns:
        A JSON-able dictionary. Times are ISO 8601 in UTC, ages in seconds. `rows_read` = `rows_kept` + the sum of
        `quarantined` + `duplicates` + `merged_labels`.
    """
    counts = tally.counts
    impressions = sum(tally.under("impressions").values())
    requests = sum(tally.under("requests").values())
    cuts = tally.smallest[("cuts_us",)], tally.largest[("cuts_us",)]
    splits = {}
    for split in SPLITS:
        splits[split] = {unit: counts[(unit, split)] for unit in ("requests", "impressions", "positives")} | {
            "first_time": iso(tally.smallest.get(("time_us", split))),
            "last_time": iso(tally.largest.get(("time_us", split))),
        }
    quarantined = tally.under("quarantined")
    lengths = {int(edge): count for edge, count in tally.under("history_length").items()}
    return {
        "rows_read": counts[("rows_read",)],
        "rows_kept": impressions,
        "quarantined": {reason: quarantined.get(reason, 0) for reason in REASONS},
        "duplicates": counts[("duplicates",)],
        "merged_labels": counts[("merged_labels",)],
        "not_a_number": tally.under("not_a_number"),
        "users": counts[("users",)],
        "users_without_profile": counts[("users_without_profile",)],
        "profiles_dropped": tally.under("profiles"),
        "splits": splits,
        "cuts": {"eval_from": iso(cuts[0]), "test_from": iso(cuts[1])},
        "items": {
            part: counts[("items", part)] for part in ("distinct", "not_in_catalogue", "impressions_not_in_catalogue")
        },
        "history": {
            "empty_share": lengths.get(0, 0) / requests if requests else None,
            "requests_by_length_from": {str(edge): lengths[edge] for edge in sorted(lengths)},
        },
        "audit": {
            "requests_checked": counts[("audited",)],
            "violations": {rule: counts[("violations", rule)] for rule in RULES},
            "newest_history_age_s": _seconds(tally.smallest.get(("history_age_us",))),
            "oldest_history_age_s": _seconds(tally.largest.get(("history_age_us",))),
        },
    }


def check_run(config: IngestionConfig, tally: Tally, report: dict[str, Any], example_time: str | None) -> None:
    """Stops the run if what was written must not be used.

    Args:
        config: of the run.
        tally: of all steps.
        report: `build_report(tally)`.
        example_time: a time value that was out of range, for the message.

    Raises:
        DataError: damaged files, too many bad rows, or a split that is empty or has one label class.
        LeakageError: the audit found violations and `data.fail_on_leakage` is set.
    """
    unreadable = tally.under("unreadable")
    if unreadable:
        raise DataError("\n".join(unreadable))
    interactions = config.data.interactions
    if not report["rows_read"]:
        raise DataError(f"data.interactions: no rows in {interactions.path}; expected at least one")
    check_bad_fraction(
        report["quarantined"], report["rows_read"], config.data.max_bad_fraction, interactions.time_unit, example_time
    )
    faults = [fault for split in SPLITS if (fault := _split_fault(split, report))]
    if faults:
        raise DataError("\n".join([*faults, "Choose other dates or fractions in 'split', or give more of the log"]))
    broken = {rule: count for rule, count in report["audit"]["violations"].items() if count}
    if broken and config.data.fail_on_leakage:
        lines = [f"{rule}: {count:,} ({RULES[rule]})" for rule, count in broken.items()]
        checked = report["audit"]["requests_checked"]
        raise LeakageError(
            f"the leakage audit of {checked:,} requests found violations; nothing was published\n" + "\n".join(lines)
        )


def iso(time_us: int | None) -> str | None:
    """ISO 8601 in UTC of microseconds since the epoch."""
    return None if time_us is None else (_EPOCH + dt.timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


def to_text(report: dict[str, Any]) -> str:
    """The report as it is written."""
    return json.dumps(report, indent=2) + "\n"


def _split_fault(split: str, report: dict[str, Any]) -> str | None:
    counts = report["splits"][split]
    if counts["impressions"] and 0 < counts["positives"] < counts["impressions"]:
        return None
    cuts = report["cuts"]
    begin = {"train": None, "eval": cuts["eval_from"], "test": cuts["test_from"]}[split]
    end = {"train": cuts["eval_from"], "eval": cuts["test_from"], "test": None}[split]
    span = " ".join(([f"from {begin}"] if begin else []) + ([f"before {end}"] if end else []))
    what = f"holds one label class ({counts['positives']:,} of {counts['impressions']:,} impressions are positive)"
    if not counts["impressions"]:
        what = "is empty"
    others = ", ".join(f"{name} {report['splits'][name]['impressions']:,}" for name in SPLITS)
    return f"split '{split}' ({span}, UTC) {what}; impressions by split: {others}"


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1e6
