"""Which values to try next: KerasTuner's oracles, told what this search wants."""

from __future__ import annotations

import keras_tuner
from keras_tuner.oracles import BayesianOptimizationOracle, RandomSearchOracle

from tfx_pipeline.config.tuning import Tuning


def make_oracle(tuning: Tuning, space: keras_tuner.HyperParameters, trials: int) -> keras_tuner.Oracle:
    """An oracle that suggests the same values in every process, given the same results.

    Args:
        tuning: algorithm, objective and seed.
        space: what to search.
        trials: how many at most; a small space may be used up before.
    """
    options = {
        "objective": keras_tuner.Objective(tuning.objective, tuning.direction),
        "max_trials": trials,
        "hyperparameters": space,
        "allow_new_entries": False,
        # KerasTuner takes seed 0 for none.
        "seed": tuning.seed + 1,
        # A diverged trial says something about its values, not about the next trial.
        "max_consecutive_failed_trials": trials + 1,
    }
    if tuning.algorithm == "random":
        oracle = RandomSearchOracle(**options)
    else:
        # The default, 3 random trials a dimension, would leave a usual budget nothing to be clever with.
        oracle = BayesianOptimizationOracle(**options, num_initial_points=len(space.space) + 2)
    oracle.verbose = 0
    return oracle
