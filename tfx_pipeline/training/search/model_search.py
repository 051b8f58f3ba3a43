"""The search for one model on prepared examples: the same for `dmf tune` and for the pipeline's Tuner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmf_keras.models.registry import model_config
from tfx_pipeline.config.label import Label
from tfx_pipeline.config.schema import Training
from tfx_pipeline.config.tuning import SearchValues, Tuning
from tfx_pipeline.console import console
from tfx_pipeline.training.search.outcome import Outcome, measure
from tfx_pipeline.training.search.report import values_text
from tfx_pipeline.training.search.search import RankingSearch, SearchedTrial
from tfx_pipeline.training.search.values import with_values
from tfx_pipeline.training.trial import Trial
from tfx_pipeline.training.trial_data import TrialData


def model_search(
    tuning: Tuning,
    label: Label,
    params: Mapping[str, Any],
    training: Training,
    data: TrialData,
    *,
    trials_folder: Path,
    directory: Path,
    trials: int,
    seconds: float = math.inf,
) -> RankingSearch:
    """A search that says on the console how it goes; `search()` starts it.

    Args:
        tuning: section of the configuration.
        label: the model, and the modalities that it is given.
        params: its hyper-parameters as they are.
        training: section of the configuration; every trial trains with its seed.
        data: examples of train and eval.
        trials_folder: keeps what trials came to, of all models.
        directory: for KerasTuner's own files.
        trials: how many at most, without that of the configuration as it is.
        seconds: no trial begins later.
    """
    space = tuning.space_of(label.model)
    if lacking := [key for key in tuning.space if key not in space]:
        console().print(f"  {label} has no {', '.join(lacking)}: left out", soft_wrap=True)

    def run(number: int, values: SearchValues, best: SearchedTrial | None) -> Outcome:
        try:
            tuned_params, tuned_training = with_values(params, training, values)
            model_config(label.model, tuned_params)
        # Each value is allowed, but not with the others.
        except (TypeError, ValueError) as error:
            return Outcome.failed(str(error))
        trial = Trial(label.model, tuned_params, training.seed, tuned_training, label.modalities, label.without)
        so_far = f", best {best.outcome.metrics[tuning.objective]:.4f}" if best else ""
        return measure(trial, data, trials_folder, f"{label} {number}/{trials}{so_far}", tuning.objective)

    def on_trial(trial: SearchedTrial, best: SearchedTrial | None) -> None:
        line = f"{label} [{trial.number}/{trials}] {_outcome_text(trial.outcome, tuning.objective)}"
        if best is not None:
            line += f" (best {best.outcome.metrics[tuning.objective]:.4f}, trial {best.number})"
        console().print(f"{line}: {values_text(trial.values)}", soft_wrap=True)

    return RankingSearch(label, tuning, space, run, directory, trials=trials, seconds=seconds, on_trial=on_trial)


def _outcome_text(outcome: Outcome, objective: str) -> str:
    how = "recalled" if outcome.recalled else f"{outcome.seconds:.0f} s"
    if not outcome.completed:
        return f"failed, {how}: {outcome.failure}"
    return f"{objective} {outcome.metrics[objective]:.4f}, {how}"
