"""What a run of ingestion tells: `report.json`, and the reasons to stop."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.log_lists import GivenHistory
from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.config.tables import Interactions, Table
from tfx_pipeline.data.examples.audit import RULES
from tfx_pipeline.data.examples.raw_features import LABEL_PREFIX
from tfx_pipeline.data.ingestion_report import (
    AuditCounts,
    Cuts,
    GivenHistoryCounts,
    HistoryCounts,
    IngestionReport,
    ItemCounts,
    ListCounts,
    SplitCounts,
    TableCounts,
)
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.id_forms import describe_mismatch
from tfx_pipeline.data.logs.quarantine import REASONS, Example, check_bad_fraction
from tfx_pipeline.data.logs.tally import Tally
from tfx_pipeline.errors import DataError, LeakageError
from tfx_pipeline.files.listing import find_files

_SHOWN_USERS = 3
_SHOWN_KINDS = 20
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def build_report(
    tally: Tally,
    tables: Mapping[str, Table] | None = None,
    log: Interactions | None = None,
    labels: Iterable[str] = (),
) -> IngestionReport:
    """The contents of `report.json`.

    Args:
        tally: of all steps of the run.
        tables: interactions, items and users, to look at their files.
        log: how the log is written; None: a row is an impression.
        labels: names of the objectives beside the main one.
    """
    counts = tally.counts
    requests = sum(tally.under("requests").values())
    quarantined = tally.under("quarantined")
    further = sorted(
        ((key, count) for key, count in counts.items() if key[0] == "further_length"), key=lambda each: int(each[0][2])
    )
    lengths = {int(edge): count for edge, count in tally.under("history_length").items()}
    return IngestionReport(
        rows_read=counts[("rows_read",)],
        rows_kept=sum(tally.under("impressions").values()) - sum(tally.under("negatives").values()),
        quarantined={reason: quarantined.get(reason, 0) for reason in REASONS},
        duplicates=counts[("duplicates",)],
        merged_labels=counts[("merged_labels",)],
        not_a_number=tally.under("not_a_number"),
        users=counts[("users",)],
        users_without_profile=counts[("users_without_profile",)],
        profiles_dropped=tally.under("profiles"),
        splits={
            split: SplitCounts(
                requests=counts[("requests", split)],
                impressions=counts[("impressions", split)],
                positives=counts[("positives", split)],
                first_time=_iso_or_none(tally.smallest.get(("time_us", split))),
                last_time=_iso_or_none(tally.largest.get(("time_us", split))),
            )
            for split in SPLITS
        },
        cuts=Cuts(eval_from=iso(tally.smallest[("cuts_us",)]), test_from=iso(tally.largest[("cuts_us",)])),
        items=ItemCounts(
            distinct=counts[("items", "distinct")],
            not_in_catalogue=counts[("items", "not_in_catalogue")],
            impressions_not_in_catalogue=counts[("items", "impressions_not_in_catalogue")],
        ),
        history=HistoryCounts(
            empty_share=lengths.get(0, 0) / requests if requests else None,
            requests_by_length_from={str(edge): lengths[edge] for edge in sorted(lengths)},
            given=_given(tally, log.columns.history) if log is not None and log.columns.history is not None else None,
            further={
                name: {edge: count for (_, of, edge), count in further if of == name}
                for name in sorted({key[1] for key, _ in further})
            },
        ),
        audit=AuditCounts(
            requests_checked=counts[("audited",)],
            violations={rule: counts[("violations", rule)] for rule in RULES},
            newest_history_age_s=_seconds(tally.smallest.get(("history_age_us",))),
            oldest_history_age_s=_seconds(tally.largest.get(("history_age_us",))),
        ),
        negatives=tally.under("negatives"),
        tables={
            name: _table_counts(table, counts[("rows_read",)] if name == "interactions" else counts[("rows", name)])
            for name, table in (tables or {}).items()
        },
        history_only=counts[("history_only",)],
        lists=(
            ListCounts(counts[("rows_good",)], counts[("impressions_read",)])
            if log is not None and log.impressions is not None
            else None
        ),
        further_positives={
            name: {split: counts["further_positives", LABEL_PREFIX + name, split] for split in SPLITS}
            for name in labels
        },
    )


def _given(tally: Tally, given: GivenHistory) -> GivenHistoryCounts:
    facts = tally.under("given_history")
    return GivenHistoryCounts(
        with_times=given.times is not None,
        events=facts.get("events", 0),
        from_future=facts.get("from_future", 0),
        held_back=facts.get("held_back", 0),
        ends_in_own_positive=facts.get("ends_in_own_positive", 0),
    )


def _table_counts(table: Table, rows: int) -> TableCounts:
    files = list_files(table)
    return TableCounts(
        files=len(files),
        bytes=sum(file.size for file in files),
        rows=rows,
        passed_over=len(find_files(table.path)) - len(files),
    )


def check_run(config: IngestionConfig, tally: Tally, report: IngestionReport, bad: Mapping[str, Example]) -> None:
    """Stops the run if what was written must not be used.

    Args:
        config: of the run.
        tally: of all steps.
        report: `build_report(tally)`.
        bad: an unusable row for each reason, for the message.

    Raises:
        DataError: damaged files, rows that nothing accounts for, too many bad rows, ids of the log that the catalogue
            or the user table lacks, or a log or split that is empty or has one label class.
        LeakageError: the audit found violations and `data.fail_on_leakage` is set.
    """
    unreadable = tally.under("unreadable")
    if unreadable:
        raise DataError("\n".join(unreadable))
    interactions = config.data.interactions
    if not report.rows_read:
        raise DataError(f"data.interactions: no rows in {interactions.path}; expected at least one")
    if report.rows_read != report.rows_accounted_for:
        raise DataError(
            f"{report.rows_read:,} rows were read, but {report.rows_accounted_for:,} were kept, quarantined, left out "
            "as duplicates or merged; rows were lost or counted twice: please report this with the log file"
        )
    if report.lists is not None and report.lists.impressions != report.impressions_accounted_for:
        raise DataError(
            f"{report.lists.impressions:,} impressions were read, but {report.impressions_accounted_for:,} were kept, "
            "left out as duplicates, merged or history only; impressions were lost or counted twice: please report "
            "this with the log file"
        )
    check_bad_fraction(report.quarantined, report.rows_read, config.data, bad)
    _check_kinds(config, tally)
    _check_given(config, report)
    _check_labels(interactions, report)
    for split, count in tally.under("without_negatives").items():
        users = ", ".join(tally.texts["without_negatives", split][:_SHOWN_USERS])
        raise DataError(
            f"negatives.{split}: {count:,} requests have none, such as those of user {users}; a table must have "
            "items, which the user never had, for every user with a request in the split"
        )
    faults = [fault for split in SPLITS if (fault := _split_fault(split, report))]
    faults = faults or list(_further_faults(config, report))
    if faults:
        raise DataError("\n".join([*faults, "Choose other dates or fractions in 'split', or give more of the log"]))
    broken = report.audit.broken
    if broken and config.data.fail_on_leakage:
        lines = [f"{rule}: {count:,} ({RULES[rule]})" for rule, count in broken.items()]
        checked = report.audit.requests_checked
        raise LeakageError(
            f"the leakage audit of {checked:,} requests found violations; nothing was published\n" + "\n".join(lines)
        )
    _check_matches(config, tally, report)


def _check_kinds(config: IngestionConfig, tally: Tally) -> None:
    """Refuses kinds of events of a further history that no row has."""
    column, there = config.data.interactions.columns.event, tally.under("events")
    if column is None:
        # Objectives, whose labels are checked.
        return
    for name, sequence in config.history.sequences.items():
        for kind in sequence.events:
            if kind not in there:
                others = sorted({*there, *tally.texts.get(("other_kind",), [])})[:_SHOWN_KINDS]
                raise DataError(
                    f"history.sequences.{name}.events: no row has the event '{kind}' in column '{column}' "
                    f"(data.interactions.columns.event); there is {', '.join(map(repr, others)) or 'none'}"
                )


def _check_given(config: IngestionConfig, report: IngestionReport) -> None:
    """Refuses a log whose histories know the future more often than bad rows are tolerated."""
    given, limit = report.history.given, config.data.max_bad_fraction
    if given is not None and given.from_future > limit * given.events:
        raise LeakageError(
            f"{given.from_future:,} of {given.events:,} events of the histories that the log gives are at or after "
            f"their request ({given.from_future / given.events:.2%}), more than data.max_bad_fraction = {limit:g} "
            "allows. Such events are left out of the examples, and so many of them say that times of requests or of "
            "events are wrong: look at data.interactions.columns.time, .history.times and time_unit"
        )


def _check_matches(config: IngestionConfig, tally: Tally, report: IngestionReport) -> None:
    data, items = config.data, report.items
    if items.impressions_not_in_catalogue > data.max_unknown_items * report.rows_kept:
        raise DataError(
            f"{items.impressions_not_in_catalogue:,} of {report.rows_kept:,} impressions are of items that the "
            f"catalogue lacks ({items.not_in_catalogue:,} of {items.distinct:,} items), more than "
            f"data.max_unknown_items = {data.max_unknown_items:g} allows: "
            + _mismatch(tally, "item_not_in_catalogue", "item_in_catalogue", "the catalogue")
        )
    if data.users is not None and report.users_without_profile > data.max_unmatched_profiles * report.users:
        raise DataError(
            f"{report.users_without_profile:,} of {report.users:,} users of the log have no profile, more than "
            f"data.max_unmatched_profiles = {data.max_unmatched_profiles:g} allows: "
            + _mismatch(tally, "user_without_profile", "user_with_profile", "the user table")
        )


def _mismatch(tally: Tally, lacking: str, present: str, table: str) -> str:
    return describe_mismatch(tally.texts.get((lacking,), []), "the log", tally.texts.get((present,), []), table)


def iso(time_us: int) -> str:
    """ISO 8601 in UTC of microseconds since the epoch."""
    return (_EPOCH + dt.timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


def _iso_or_none(time_us: int | None) -> str | None:
    return None if time_us is None else iso(time_us)


def to_text(report: IngestionReport) -> str:
    """The report as it is written."""
    return json.dumps(report.to_json(), indent=2) + "\n"


def _check_labels(interactions: Interactions, report: IngestionReport) -> None:
    """Refuses a log of one label class, which no other split would mend."""
    impressions = sum(counts.impressions for counts in report.splits.values())
    positives = sum(counts.positives for counts in report.splits.values())
    # Labels of pairs are in the column of items.
    of_items = interactions.columns.label not in interactions.of_impressions
    label, log = interactions.columns.item if of_items else interactions.columns.label, interactions.path
    if impressions and positives == impressions:
        raise DataError(
            f"data.interactions: the log has positives only: all {impressions:,} impressions of {log} have label 1 in "
            f"'{label}'. There is nothing to learn a click rate from: log what was shown and not clicked too, with "
            "label 0 (for a log of ratings or plays, choose the label so that some rows are 0), or set "
            "data.interactions.columns.label to null and have `negatives` drawn"
        )
    if impressions and not positives:
        raise DataError(
            f"data.interactions: the log has no positives: all {impressions:,} impressions of {log} have label 0 in "
            f"'{label}'. There is nothing to learn clicks from; is '{label}' (data.interactions.columns.label) the "
            "column that says what was clicked?"
        )


def _split_fault(split: str, report: IngestionReport) -> str | None:
    counts = report.splits[split]
    if counts.impressions and 0 < counts.positives < counts.impressions:
        return None
    cuts = report.cuts
    begin = {"train": None, "eval": cuts.eval_from, "test": cuts.test_from}[split]
    end = {"train": cuts.eval_from, "eval": cuts.test_from, "test": None}[split]
    span = " ".join(([f"from {begin}"] if begin else []) + ([f"before {end}"] if end else []))
    what = f"holds one label class ({counts.positives:,} of {counts.impressions:,} impressions are positive)"
    if not counts.impressions:
        what = "is empty"
    others = ", ".join(f"{name} {report.splits[name].impressions:,}" for name in SPLITS)
    return f"split '{split}' ({span}, UTC) {what}; impressions by split: {others}"


def _further_faults(config: IngestionConfig, report: IngestionReport) -> Iterator[str]:
    for name, positives in report.further_positives.items():
        for split, count in positives.items():
            impressions = report.splits[split].impressions
            if not 0 < count < impressions:
                column = config.labels[name].column
                yield (
                    f"split '{split}' holds one label class of objective '{name}' ('{column}'): {count:,} of "
                    f"{impressions:,} impressions are positive"
                )


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1e6
