"""Whether the models of a comparison have learned anything: what never left an AUC of 0.5 was not compared."""

from __future__ import annotations

from tfx_pipeline.studies.compare.report import Report
from tfx_pipeline.training.chance import LEFT_CHANCE, has_left_chance


def trainings_at_chance(report: Report) -> list[str]:
    """A sentence for each model of which a training never left chance on the eval split."""
    sentences = []
    for model in report.models:
        seeds = [
            str(seed) for seed, history in zip(report.seeds, model.history, strict=True) if not has_left_chance(history)
        ]
        if seeds:
            sentences.append(
                f"{model.label} never left chance with seed{'s'[: len(seeds) > 1]} {', '.join(seeds)}: its eval AUC "
                f"stayed at or below {LEFT_CHANCE:g}. What is said of it here is about its training and not about the "
                "model; try more training.epochs or a higher learning rate."
            )
    return sentences
