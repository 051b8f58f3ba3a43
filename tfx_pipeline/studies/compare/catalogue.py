"""What a comparison says of the whole catalogue: on a terminal and on its page."""

from __future__ import annotations

from collections.abc import Mapping

from tfx_pipeline.studies.compare.report import CatalogueEntry, CatalogueFacts, Report

RULE = (
    "Each request ranks every item of the catalogue, but for items that stand in its history or in that of an earlier "
    "request of the user."
)


def catalogue_heading(report: Report, facts: CatalogueFacts) -> str:
    """The heading of the table."""
    of = "of one training" if report.trained_once else f"mean ± standard deviation over {len(report.seeds)} seeds"
    return f"whole catalogue, {facts.items:,} items, {facts.requests:,} requests of test with a positive: {of}"


def catalogue_notes(facts: CatalogueFacts) -> list[str]:
    """Sentences beside the table."""
    found = [f"{RULE} It ranked {facts.candidates:,.0f} items in the mean."]
    if facts.unknown_positives:
        found.append(
            f"{facts.unknown_positives:,} positives are no items of the catalogue: they cannot be ranked and are left "
            f"out, and so are the {facts.without_positive:,} requests that have no other."
        )
    return found


def catalogue_entries(report: Report) -> Mapping[str, CatalogueEntry]:
    """By label, of the models that ranked the whole catalogue."""
    return {model.label: model.catalogue for model in report.models if model.catalogue is not None}
