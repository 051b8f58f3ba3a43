"""The summary of a run as tables on the user's console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tfx_pipeline.config.metrics import SHOWN, objectives_in, outlined
from tfx_pipeline.config.stages import JUDGED_AT
from tfx_pipeline.console import Console, console, styled
from tfx_pipeline.data.ingestion_report import IngestionReport, SplitCounts
from tfx_pipeline.training.search.report import trials_table

if TYPE_CHECKING:
    # With it comes TFX, which a table wants nothing of.
    from tfx_pipeline.evaluation.results import MetricValues, SplitMetrics
    from tfx_pipeline.runners.summary import AttainedSplit, ContentSummary, StepSummary, Summary
    from tfx_pipeline.training.metadata import RetrievalFacts


def print_summary(summary: Summary) -> None:
    """Prints what `tfx_pipeline.runners.summary.build_summary` gathered."""
    target = console()
    target.print()
    target.print(splits_table("logs", summary.ingestion.splits, first="from (UTC)", last="to (UTC)"))
    for note in _ingestion_notes(summary.ingestion, summary.content):
        target.print(note, highlight=False)
    if (share := summary.content_share) is not None:
        target.print(f"content covers {share:.1%} of the impressions of test", highlight=False)
    if summary.tuning is not None:
        target.print(trials_table(summary.tuning))
    if summary.retrieval is not None:
        target.print(_retrieval(summary.retrieval.exported), highlight=False)
    sampled = summary.ingestion.sampled_negatives("test")
    target.print(_metrics_table(summary.metrics, summary.attainable, sampled))
    if objectives := objectives_in(name for of_split in summary.metrics.values() for name in of_split.overall):
        target.print(_objectives_table(summary.metrics, objectives))
    if "test" in summary.metrics:
        target.print(_requests_table(summary.metrics["test"].overall, summary.baselines, sampled))
    target.print(_steps_table(summary.steps))
    for warning in summary.warnings:
        target.print(f"warning: {warning}", style="yellow", highlight=False, soft_wrap=True)
    _print_verdict(summary, target)


def _retrieval(stage: RetrievalFacts) -> str:
    return (
        f"retrieval: recall@{JUDGED_AT} on eval {stage.recall:.4f}, by the best epoch, {stage.best_epoch + 1} of "
        f"{stage.epochs}; {stage.items:,} items, width {stage.width}"
    )


def splits_table(title: str, splits: Mapping[str, SplitCounts], *, first: str, last: str) -> Table:
    """Counts and span of each split; `first` and `last` are the headers of its times."""
    table = Table(title=title, title_justify="left")
    table.add_column("split")
    for unit in ("requests", "impressions", "positives"):
        table.add_column(unit, justify="right")
    table.add_column(first)
    table.add_column(last)
    for split, counts in splits.items():
        numbers = (f"{count:,}" for count in (counts.requests, counts.impressions, counts.positives))
        table.add_row(split, *numbers, _minute(counts.first_time), _minute(counts.last_time))
    return table


def _ingestion_notes(ingestion: IngestionReport, content: Mapping[str, ContentSummary]) -> list[str]:
    bad = ingestion.faults
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in bad.items())
    audit, items = ingestion.audit, ingestion.items
    notes = [
        *(
            f"data.{name}: {_of(table.files, 'file')}, {_of(table.rows, 'row')}, {table.bytes:,} bytes"
            + (f"; {_of(table.passed_over, 'file')} of other endings passed over" if table.passed_over else "")
            for name, table in ingestion.tables.items()
        ),
        f"{ingestion.rows_read:,} rows read, {_lists(ingestion)}{ingestion.rows_kept:,} kept; "
        f"quarantined {sum(bad.values()):,}{f' ({reasons})' if bad else ''}; "
        f"duplicates {ingestion.duplicates:,}; merged labels {ingestion.merged_labels:,}"
        + (f"; history only {ingestion.history_only:,}" if ingestion.history_only else ""),
        f"{ingestion.users:,} users{_profiles(ingestion)}; {items.distinct:,} items, of which "
        f"{items.not_in_catalogue:,} are not in the catalogue; "
        f"{ingestion.history.empty_share:.1%} of the requests have an empty history",
        f"leakage audit: {audit.requests_checked:,} requests checked, {sum(audit.violations.values()):,} "
        f"violations; {_history(ingestion)}",
    ]
    for name, facts in content.items():
        coverage = facts.coverage
        line = f"content '{name}': {coverage.present:,} of {coverage.items:,} items, width {facts.width}"
        if coverage.zero_vectors:
            line += f"; zero vectors {coverage.zero_vectors:,}, such as that of '{coverage.zero_vector_items[0]}'"
        notes.append(line)
    for name, positives in ingestion.further_positives.items():
        by_split = ", ".join(f"{split} {count:,}" for split, count in positives.items())
        notes.append(f"positives of objective '{name}': {by_split}")
    return notes


def _lists(ingestion: IngestionReport) -> str:
    lists = ingestion.lists
    return "" if lists is None else f"{lists.impressions:,} impressions in {lists.rows:,} good ones, "


def _history(ingestion: IngestionReport) -> str:
    given, audit = ingestion.history.given, ingestion.audit
    ages = f"history is {_age(audit.newest_history_age_s)} to {_age(audit.oldest_history_age_s)} old"
    if given is None:
        return ages
    if not given.with_times:
        return (
            "history is given without times, so that its age cannot be checked; it ends in a positive of its own "
            f"request {given.ends_in_own_positive:,} times"
        )
    return (
        f"given {ages}; {given.from_future:,} of {given.events:,} events were from the future of their request and "
        f"{given.held_back:,} held back by the delay: left out"
    )


def _profiles(ingestion: IngestionReport) -> str:
    missing = ingestion.users_without_profile
    return f", of which {missing:,} have no profile" if missing else ""


def _of(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _objectives_table(metrics: Mapping[str, SplitMetrics], names: Sequence[str]) -> Table:
    """Of the objectives beside the main one, whole splits: slices are in the JSON."""
    table = Table(title="metrics of further objectives, on all impressions", title_justify="left")
    table.add_column("split")
    table.add_column("objective")
    for metric in ("base_rate", *SHOWN):
        table.add_column(metric.replace("_", " "), justify="right")
    for split, of_split in metrics.items():
        for name in names:
            values = (of_split.overall.get(f"{name}/{metric}") for metric in ("base_rate", *SHOWN))
            table.add_row(split, name, *map(_number, values))
    return table


def _metrics_table(
    metrics: Mapping[str, SplitMetrics], attainable: Mapping[str, AttainedSplit] | None, sampled: str | None
) -> Table:
    table = Table(title=f"metrics{f', of {sampled}' if sampled else ''}", title_justify="left")
    table.add_column("split")
    table.add_column("slice")
    table.add_column("candidates", justify="right")
    for metric in SHOWN:
        table.add_column(metric.replace("_", " "), justify="right")
    if attainable:
        table.add_column("attained AUC gain", justify="right")
    for split, of_split in metrics.items():
        for column, buckets in {"overall": {"": of_split.overall}, **of_split.slices}.items():
            for bucket, values in buckets.items():
                shown = [_number(values.get(metric)) for metric in SHOWN]
                share = []
                if attainable:
                    overall = column == "overall" and split in attainable
                    share = [f"{attainable[split].gain_share:.0%} of {attainable[split].auc:.3f}" if overall else ""]
                name = f"{column.replace('_', ' ')} {bucket}".strip()
                table.add_row(split, name, f"{values['example_count']:,.0f}", *shown, *share)
        table.add_section()
    return table


def _requests_table(model: MetricValues, baselines: Mapping[str, MetricValues], sampled: str | None) -> Table:
    names = ("auc", "gauc", *outlined(model))
    table = Table(
        title="test split, beside rankers without a model; by request, of those with a click"
        + (f"; {sampled}" if sampled else ""),
        title_justify="left",
    )
    table.add_column("ranked by")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for ranker, values in {"the model": model, **baselines}.items():
        table.add_row(ranker.replace("_", " "), *(_number(values.get(name)) for name in names))
    return table


def _steps_table(steps: Sequence[StepSummary]) -> Table:
    table = Table(title="steps", title_justify="left")
    table.add_column("step")
    table.add_column("state")
    table.add_column("why", overflow="fold")
    table.add_column("seconds", justify="right")
    table.add_column("memory, MiB", justify="right")
    table.add_column("rows", justify="right")
    for step in steps:
        held = f"{step.peak_memory_mb:,}" if step.peak_memory_mb else ""
        rows = f"{step.rows:,}" if step.rows is not None else ""
        table.add_row(step.node, step.state, step.reason, f"{step.seconds:.1f}", held, rows)
    return table


def _print_verdict(summary: Summary, target: Console) -> None:
    target.print(
        f"{summary.seconds:.0f} s, peak memory {summary.peak_memory_mb:,} MiB; log {summary.log}",
        highlight=False,
        soft_wrap=True,
    )
    if summary.pushed:
        target.print(styled(("pushed", "green bold"), f" {summary.model_path}"), highlight=False, soft_wrap=True)
        if summary.refit is not None:
            target.print(summary.refit.note, highlight=False, soft_wrap=True)
    else:
        target.print(styled(("not pushed", "yellow bold")))
        for failure in summary.failures:
            target.print(f"  {failure}", highlight=False)
    target.print(f"to look at the run: dmf report {summary.output}", highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _minute(time: str | None) -> str:
    return "-" if time is None else time[:16].replace("T", " ")


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:g} s"
