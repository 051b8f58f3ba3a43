"""`dmf content evaluate`: what the vectors of items are worth before there is a ranker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.files.output_folder import hold_output

if TYPE_CHECKING:
    from tfx_pipeline.evaluation.content_evidence import ContentEvidence

_JUDGED = ("eval", "test")


def evaluate_content(config: PipelineConfig) -> ContentEvidence:
    """Evidence of the configuration's content on the splits eval and test.

    The data steps that it takes run, or come from the cache that `dmf run` uses too; with `content.fine_tuning` that is
    the fine-tuning as well.

    Args:
        config: the validated configuration.

    Raises:
        ConfigError: the configuration has no content.
        PipelineError: the inputs or a step refuse.
    """
    if not config.content.modalities:
        raise ConfigError("content.modalities: there are none, and so no vectors to look at; name their files")
    with hold_output(config.output, "content"):
        with console().status("loading libraries"):
            from tfx_pipeline.evaluation.content_evidence import content_evidence, count_impressions
            from tfx_pipeline.evaluation.requests import read_all_requests
            from tfx_pipeline.studies.preparation import prepare_content

        data = prepare_content(config)
        items = data.table.item_ids
        with console().status("reading requests") as status:
            impressions = count_impressions(read_all_requests(data.examples["train"], items), len(items))
            return content_evidence(
                data.table,
                {split: read_all_requests(data.examples[split], items) for split in _JUDGED},
                impressions,
                config.evaluation,
                sampled=data.report.sampled_negatives("test"),
                watch=lambda words: status.update(f"content {words}"),
            )
