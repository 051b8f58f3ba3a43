"""What a run of ingestion tells, as its `report.json` has it. Times are ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfx_pipeline.files.json_record import JsonRecord


@dataclass(frozen=True)
class SplitCounts(JsonRecord):
    """Sizes and span of a split.

    Attributes:
        requests, impressions, positives: how many it has.
        first_time, last_time: of its requests; None of an empty split.
    """

    requests: int
    impressions: int
    positives: int
    first_time: str | None
    last_time: str | None


@dataclass(frozen=True)
class TableCounts:
    """What was found of a table.

    Attributes:
        files, bytes: how many, as they lie there.
        rows: all of them, usable or not.
        passed_over: files of the folder that are none of the table, by their endings.
    """

    files: int
    bytes: int
    rows: int
    passed_over: int = 0


@dataclass(frozen=True)
class Cuts:
    """First moments of the splits eval and test."""

    eval_from: str
    test_from: str


@dataclass(frozen=True)
class ItemCounts:
    """Items of the log.

    Attributes:
        distinct: how many there are.
        not_in_catalogue: those of them that the catalogue lacks.
        impressions_not_in_catalogue: impressions of these.
    """

    distinct: int
    not_in_catalogue: int
    impressions_not_in_catalogue: int


@dataclass(frozen=True)
class GivenHistoryCounts:
    """Histories that the log gives, of the requests that were written.

    Attributes:
        with_times: whether the log says when the events were, so that they can be checked.
        events: how many it gives, before histories are cut to their greatest length.
        from_future: those of them at or after their request; left out.
        held_back: those of them within `history.delay_s` before it; left out.
        ends_in_own_positive: requests whose newest history item is one of their own positives.
    """

    with_times: bool
    events: int
    from_future: int
    held_back: int
    ends_in_own_positive: int


@dataclass(frozen=True)
class HistoryCounts:
    """Histories of the requests.

    Attributes:
        empty_share: of the requests; None where there is no request.
        requests_by_length_from: requests by the least length, as text, of a range of lengths.
        given: of histories that the log gives; None where they are made of its rows.
        further: as `requests_by_length_from`, of each further history by name.
    """

    empty_share: float | None
    requests_by_length_from: Mapping[str, int]
    given: GivenHistoryCounts | None = None
    further: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ListCounts:
    """Of a log whose rows are lists of impressions.

    Attributes:
        rows: that could be used.
        impressions: in them.
    """

    rows: int
    impressions: int


@dataclass(frozen=True)
class AuditCounts:
    """What the leakage audit found.

    Attributes:
        requests_checked: how many it looked at.
        violations: by rule.
        newest_history_age_s, oldest_history_age_s: seconds from an item of a history to its request, at least and at
            most; None where all histories are empty.
    """

    requests_checked: int
    violations: Mapping[str, int]
    newest_history_age_s: float | None
    oldest_history_age_s: float | None

    @property
    def broken(self) -> dict[str, int]:
        """The rules that were broken, with their violations."""
        return {rule: count for rule, count in self.violations.items() if count}


@dataclass(frozen=True)
class IngestionReport(JsonRecord):
    """What became of a log. `rows_read` = `rows_kept` + all of `quarantined` + `duplicates` + `merged_labels` +
    `history_only`. Where rows are lists, `rows_read` = `lists.rows` + all of `quarantined`, and `lists.impressions` =
    `rows_kept` + `duplicates` + `merged_labels` + `history_only`.

    Attributes:
        rows_read: rows of the log.
        rows_kept: impressions that were made of them and written.
        quarantined: rows set aside, by the first fault found in each.
        duplicates: rows, or impressions of lists, left out as repetitions.
        merged_labels: rows, or impressions of lists, merged with another label of the same impression.
        not_a_number: values that became missing, by numeric column.
        users: of the log.
        users_without_profile: those of them that the user table lacks.
        profiles_dropped: rows of the user table that were left out, by reason.
        splits: train, eval and test.
        cuts: between them.
        items: of the log.
        history: of the requests.
        audit: for leakage.
        tables: interactions, items and users; none in reports of before.
        history_only: impressions before `split.train_from`, of which no request was written.
        lists: where a row is a list of impressions; None where it is one.
        further_positives: of the objectives beside the main one, by name and split.
        negatives: impressions that were drawn, by split; none of a log that has its own.
    """

    rows_read: int
    rows_kept: int
    quarantined: Mapping[str, int]
    duplicates: int
    merged_labels: int
    not_a_number: Mapping[str, int]
    users: int
    users_without_profile: int
    profiles_dropped: Mapping[str, int]
    splits: Mapping[str, SplitCounts]
    cuts: Cuts
    items: ItemCounts
    history: HistoryCounts
    audit: AuditCounts
    tables: Mapping[str, TableCounts] = field(default_factory=dict)
    history_only: int = 0
    lists: ListCounts | None = None
    further_positives: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    negatives: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows_accounted_for(self) -> int:
        """Rows of which the report says what became of them: all that were read, or rows were lost."""
        used = self.impressions_accounted_for if self.lists is None else self.lists.rows
        return used + sum(self.quarantined.values())

    @property
    def impressions_accounted_for(self) -> int:
        """Impressions of good rows of which the report says what became of them."""
        return self.rows_kept + self.duplicates + self.merged_labels + self.history_only

    def sampled_negatives(self, split: str) -> str | None:
        """What to say beside figures of a split whose negatives were drawn; None: they are of the log."""
        drawn, positives = self.negatives.get(split, 0), self.splits[split].positives
        return f"sampled negatives, {drawn / positives:.4g} a positive" if drawn else None

    @property
    def faults(self) -> dict[str, int]:
        """Faults for which rows were quarantined, with their rows."""
        return {reason: count for reason, count in self.quarantined.items() if count}
