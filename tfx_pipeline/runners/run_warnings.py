"""What of a run's figures would mislead somebody who reads them for the first time: a sentence each.

One place for the summary, `--summary-json` and the page. Nothing is measured for it: all figures are in the reports of
the steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.evaluation import slices
from tfx_pipeline.evaluation.results import MetricValues, SplitMetrics
from tfx_pipeline.training.chance import LEFT_CHANCE, eval_auc, has_left_chance
from tfx_pipeline.training.trainer import TrainingResult

# By their metrics a model is judged.
_JUDGED = "test"
_CALIBRATED = (0.8, 1.25)
_RATE_SHIFT = 2.0
_LEAST_CONTENT = 0.5
_LEAST_REAL_SLOTS = 0.5
# In standard errors, and at least: an AUC of counts below chance by more is none of chance.
_CHANCE = (4.0, 0.02)
# Clicks, and impressions without one: below, the standard error of an AUC is above 0.04.
_LEAST_OF_A_CLASS = 50


def run_warnings(
    ingestion: IngestionReport | None,
    training: TrainingResult | None,
    epochs: int | None,
    metrics: Mapping[str, SplitMetrics],
    has_content: bool = True,
    baselines: Mapping[str, Mapping[str, float | None]] | None = None,
    *,
    retrieval: TrainingResult | None = None,
    retrieval_epochs: int | None = None,
) -> list[str]:
    """Warnings about a run, each a sentence or two, what is wrong before what may help.

    Args:
        ingestion: report of the log; None: the run has none.
        training: what the training came to; None: the run has none.
        epochs: at most, as the training was told; None: not known.
        metrics: by split; empty where nothing was evaluated.
        has_content: whether the configuration gives items content.
        baselines: metrics on test of rankers without a model; None: not known.
        retrieval: what the training of the two towers came to; None: the run has no such stage.
        retrieval_epochs: at most, as that training was told; None: not known.
    """
    found: list[str] = []
    if ingestion is not None:
        found += _of_the_log(ingestion)
    if training is not None:
        found += _of_training(training, epochs)
    if retrieval is not None and retrieval.best_epoch + 1 == retrieval_epochs:
        found.append(
            f"The epoch limit ended the training of retrieval: its best epoch was the last of {retrieval_epochs}. The "
            "two towers may not have learned all they can; raise stages.retrieval.epochs, which "
            "stages.retrieval.patience keeps from going too far."
        )
    if _JUDGED in metrics:
        found += _of_the_negatives(metrics[_JUDGED].overall, baselines or {})
        found += _of_the_metrics(metrics[_JUDGED], has_content)
    return found


def content_share(metrics: SplitMetrics) -> float | None:
    """Share of a split's impressions whose item has content, of any modality; None where that was not evaluated."""
    sizes = {
        name: values.get("example_count") or 0.0 for name, values in metrics.slices.get(slices.CONTENT, {}).items()
    }
    total = sum(sizes.values())
    return sizes.get("with", 0.0) / total if total else None


def _of_the_log(report: IngestionReport) -> Iterator[str]:
    rates = {split: facts.positives / facts.impressions for split, facts in report.splits.items() if facts.impressions}
    if not report.negatives and rates and max(rates.values()) > _RATE_SHIFT * min(rates.values()):
        shown = ", ".join(f"{split} {rate:.2%}" for split, rate in rates.items())
        yield (
            f"The click rate shifts between the splits by more than a factor of {_RATE_SHIFT:g}: {shown}. What a model "
            "learns about clicks in train then does not hold in test; look whether the log or the label changed on the "
            "way."
        )
    if sampled := report.sampled_negatives(_JUDGED):
        yield (
            f"Figures of {_JUDGED} are of {sampled}: they compare models, and with figures of others only where "
            "negatives were drawn alike. Probabilities are those of the sample and no click rates."
        )


def _of_the_negatives(overall: MetricValues, baselines: Mapping[str, Mapping[str, float | None]]) -> Iterator[str]:
    """Whether what train counts says which items of a later split are negatives."""
    number, rate = overall.get("example_count") or 0.0, overall.get("base_rate") or 0.0
    if not 0 < rate < 1:
        return
    error = math.sqrt((1 / (number * rate) + 1 / (number * (1 - rate))) / 12)
    least = 0.5 - max(_CHANCE[0] * error, _CHANCE[1])
    names = {"popularity": "impressions", "click_rate": "click rate"}
    found = {words: auc for name, words in names.items() if (auc := baselines.get(name, {}).get("auc")) is not None}
    if told := [f"{words} {auc:.3f}" for words, auc in found.items() if auc < least]:
        yield (
            f"What an item has in train says that it is not clicked in {_JUDGED}: AUC of its {' and its '.join(told)}, "
            "far below chance. Negatives were drawn by popularity, or by one that knew what came later: a model learns "
            "how they were drawn, and its figures are not those of a log of what was shown."
        )


def _of_training(training: TrainingResult, epochs: int | None) -> Iterator[str]:
    if not has_left_chance(training.history):
        best = eval_auc(training.history[training.best_epoch])
        yield (
            f"The training never left chance: its best eval AUC is {best:.4f}, and {LEFT_CHANCE:g} is the least that "
            "says something. The model ranks no better than at random; try more training.epochs or a higher "
            "training.learning_rate."
        )
    elif training.best_epoch + 1 == epochs:
        yield (
            f"The epoch limit ended the training: the best epoch was the last of {epochs}. The model may not have "
            "learned all it can; raise training.epochs, which training.patience keeps from going too far."
        )
    if training.real_slots is not None and training.real_slots < _LEAST_REAL_SLOTS:
        yield (
            f"Batches of the training are {training.real_slots:.0%} candidates and else padding, which takes as long: "
            "they are as wide as their longest request. training.max_candidates trains on long requests as several."
        )


def _of_the_metrics(metrics: SplitMetrics, has_content: bool) -> Iterator[str]:
    entropy = metrics.overall.get("normalized_entropy")
    if entropy is not None and entropy > 1:
        yield (
            f"The model's probabilities are worse than a constant: normalised entropy of {_JUDGED} is {entropy:.4f}, "
            "and 1 is what always saying the click rate has. Its order may still be good (AUC); its probabilities are "
            "not to be used."
        )
    if (ratio := calibration_off(metrics.overall)) is not None:
        yield (
            f"The model promises {ratio:.2f} times the clicks that {_JUDGED} has (calibration; "
            f"{_CALIBRATED[0]:g} to {_CALIBRATED[1]:g} is near enough): do not bid or budget by its scores."
        )
    parts = [(f"{column.replace('_', ' ')} {name}", values) for column, name, values in _slices(metrics)]
    small = [name for name, values in parts if says_nothing(values)]
    off = [
        f"{name} {ratio:.2f}"
        for name, values in parts
        if not says_nothing(values) and (ratio := calibration_off(values)) is not None
    ]
    if off:
        yield (
            f"Calibration is off in parts of {_JUDGED}: {', '.join(off)}. Where scores of such parts stand side by "
            "side, one is preferred without a reason."
        )
    share = content_share(metrics)
    if has_content and share is not None and share < _LEAST_CONTENT:
        yield (
            f"Content covers {share:.1%} of the impressions of {_JUDGED}: of all others the model knows the item's id "
            "alone. Embed the items that are shown most."
        )
    if small:
        yield (
            f"Slices of {_JUDGED} with fewer than {_LEAST_OF_A_CLASS} clicks, or impressions without one, say nothing: "
            f"{', '.join(small)}."
        )


def _slices(metrics: SplitMetrics) -> Iterator[tuple[str, str, MetricValues]]:
    for column, buckets in metrics.slices.items():
        for bucket, values in buckets.items():
            yield column, bucket, values


def says_nothing(values: MetricValues) -> bool:
    """Whether a part has too few impressions of one of the classes for its metrics to say anything."""
    number, rate = values.get("example_count") or 0.0, values.get("base_rate") or 0.0
    return number * min(rate, 1 - rate) < _LEAST_OF_A_CLASS


def calibration_off(values: MetricValues) -> float | None:
    """The calibration, if it lies outside of what is near enough."""
    ratio = values.get("calibration")
    return ratio if ratio is not None and not _CALIBRATED[0] <= ratio <= _CALIBRATED[1] else None
