"""The search: KerasTuner suggests values, each trial is trained and measured, or recalled if it was before.

KerasTuner's own resuming is not used: it writes its state in place, so that a kill can leave half a file, and it
forgets the random state of its Bayesian oracle. A search here is a function of its seed and of its trials' results;
results are kept, so a search that is run again passes through its finished trials in no time and goes on.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import keras_tuner
from keras_tuner.engine import base_tuner
from keras_tuner.errors import FailedTrialError, FatalError

from tfx_pipeline.config.label import Label
from tfx_pipeline.config.tuning import Range, SearchValues, Tuning
from tfx_pipeline.errors import DataError, ModelError
from tfx_pipeline.training.search.oracle import make_oracle
from tfx_pipeline.training.search.outcome import Outcome
from tfx_pipeline.training.search.space import config_values, search_space


@dataclasses.dataclass(frozen=True)
class SearchedTrial:
    """A trial of a search.

    Attributes:
        number: 0 is the configuration as it is, trials of the search follow.
        values: of the configuration, by their place in it; those not named are as they are.
        outcome: what it came to.
    """

    number: int
    values: SearchValues
    outcome: Outcome


class RankingSearch(base_tuner.BaseTuner):
    """KerasTuner's tuner for models that are trained by the project's own loop; made for `dmf tune` and TFX's Tuner.

    Before the search proper it runs trial 0, the configuration as it is: a search never ends with something worse.

    Args:
        label: of the model.
        tuning: section of the configuration.
        space: the part of its space that the model has.
        run: trains and measures the model, or recalls that it has: called with the trial's number, its values, and
            the best trial so far.
        directory: for KerasTuner's own files; emptied first.
        trials: how many, without trial 0.
        seconds: begin no trial later than this; trial 0 and the first of the search are run in any case.
        on_trial: called with each finished trial and the best so far.
    """

    def __init__(
        self,
        label: Label,
        tuning: Tuning,
        space: dict[str, Range],
        run: Callable[[int, SearchValues, SearchedTrial | None], Outcome],
        directory: Path,
        *,
        trials: int,
        on_trial: Callable[[SearchedTrial, SearchedTrial | None], None],
        seconds: float = math.inf,
    ):
        self.label, self.tuning, self.space = label, tuning, space
        self.trials: list[SearchedTrial] = []
        self.out_of_time = False
        self._run, self._on_trial = run, on_trial
        self._seconds, self._deadline = seconds, math.inf
        oracle = make_oracle(tuning, search_space(space), trials)
        super().__init__(oracle, directory=str(directory), project_name="keras_tuner", overwrite=True)

    @property
    def best(self) -> SearchedTrial | None:
        """The best completed trial so far."""
        return next(iter(self.ranked()), None)

    def ranked(self) -> list[SearchedTrial]:
        """The completed trials, best first; the earlier one of equals."""
        sign = -1 if self.tuning.direction == "max" else 1
        completed = [trial for trial in self.trials if trial.outcome.completed]
        return sorted(completed, key=lambda trial: sign * trial.outcome.metrics[self.tuning.objective])

    def search(self) -> None:
        """Runs all trials.

        Raises:
            PipelineError: the data cannot be used, or no trial completed.
        """
        try:
            super().search()
        except FatalError as error:
            raise (error.__cause__ or error) from None

    def on_search_begin(self) -> None:
        """Runs trial 0."""
        self._deadline = time.monotonic() + self._seconds
        self._measure({})

    def pre_create_trial(self) -> None:
        """Ends the search when its time is up."""
        if time.monotonic() > self._deadline and self.oracle.trials:
            self.out_of_time = len(self.oracle.trials) < self.oracle.max_trials
            self.oracle.max_trials = len(self.oracle.trials)

    def run_trial(self, trial: keras_tuner.engine.trial.Trial) -> dict[str, float]:
        """Trains and measures one trial.

        Raises:
            FailedTrialError: it diverged, was refused by the model or did not fit into memory; the search goes on.
            FatalError: anything else, with the error as its cause. KerasTuner would take it for a failed trial.
        """
        try:
            outcome = self._measure(config_values(self.space, trial.hyperparameters.values))
        except Exception as error:
            raise FatalError(f"{type(error).__name__}: {error}") from error
        if not outcome.completed:
            raise FailedTrialError(outcome.failure)
        return {self.tuning.objective: outcome.metrics[self.tuning.objective]}

    def on_search_end(self) -> None:
        """Refuses a search of which nothing is left.

        Raises:
            ModelError: no trial completed.
        """
        if self.best is None:
            raise ModelError(
                f"none of {len(self.trials)} trials completed, the configuration as it is among them; the last: "
                f"{self.trials[-1].outcome.failure}"
            )

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[keras_tuner.HyperParameters]:
        """Values of the best trials, trial 0 among them, as they are written in the configuration.

        TFX writes the first into its `HyperParameters` artifact. Trial 0 has none.
        """
        found = []
        for trial in self.ranked()[:num_trials]:
            hyperparameters = self.oracle.get_space()
            hyperparameters.values = dict(trial.values)
            found.append(hyperparameters)
        return found

    def _measure(self, values: SearchValues) -> Outcome:
        number = len(self.trials)
        outcome = self._run(number, values, self.best)
        if outcome.completed and not math.isfinite(outcome.metrics[self.tuning.objective]):
            both = "both a click and a candidate without one"
            reasons = {
                "gauc": f"no user of it has {both}",
                "request_auc": f"no request of it has {both}",
                "auc": f"it does not have {both}",
            }
            raise DataError(
                f"tuning.objective: {self.tuning.objective} of the eval split is not a number, as "
                f"{reasons.get(self.tuning.objective, 'it has no click')}; take log_loss, or a longer eval split"
            )
        self.trials.append(SearchedTrial(number, values, outcome))
        self._on_trial(self.trials[-1], self.best)
        return outcome
