"""What a model makes of positions: as a bias, as a feature, or not at all, against the truth without positions.

    .venv/bin/dmf synthesize worlds/position --world position --items 200
    .venv/bin/python -m tfx_pipeline.studies.worlds.position worlds/position

Of the world `position` (`tfx_pipeline.studies.worlds.parts.Examination`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.config.label import CANDIDATES
from tfx_pipeline.config.loading import load_config
from tfx_pipeline.console import console_on
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.files.output_folder import hold_output
from tfx_pipeline.studies.preparation import prepare
from tfx_pipeline.studies.worlds.synthetic import TRUTH
from tfx_pipeline.training.model_training import train_model
from tfx_pipeline.training.trainer import forget
from tfx_pipeline.training.trial_data import TrialData

COLUMN = "position"
VARIANTS = ("bias", "without", "feature")


def auc_of_chances(scores: np.ndarray, chances: np.ndarray) -> float:
    """AUC where each row is positive with a known chance: over pairs, weighted by the chance that they differ so.

    Args:
        scores, chances: float [n]; ties count half.
    """
    order = np.argsort(scores, kind="stable")
    scores, positive = scores[order], chances[order]
    negative = 1 - positive
    below = np.concatenate([[0.0], np.cumsum(negative)])
    first = np.searchsorted(scores, scores, side="left")
    last = np.searchsorted(scores, scores, side="right")
    wins = positive * (below[first] + below[last]) / 2
    return float(wins.sum() / (positive.sum() * negative.sum()))


def position_study(directory: Path, seeds: int = 3) -> dict[str, list[float]]:
    """AUC on the test split against the chance of a click on what is examined, by variant and seed.

    Every variant is trained on the same examples: with position as `bias`; `without` it; as a `feature`, which is then
    told for every candidate that it stands first, as the bias is.

    Args:
        directory: of `dmf synthesize`, with its `config.yaml`.
        seeds: trainings of each variant.
    """
    config = load_config(directory / "config.yaml")
    column = config.features.candidate[COLUMN].model_copy(update={"role": "feature", "serving_value": None})
    features = config.features.model_copy(update={"candidate": {COLUMN: column}})
    with hold_output(config.output, "position-study"):
        data = prepare(config)
        # Roles change nothing up to the training: what was prepared is taken again.
        as_feature = prepare(config.model_copy(update={"features": features}))
    truth = _chances(directory / "data" / TRUTH)
    first = data.training_data.transform.serving_values()[COLUMN]
    work = directory / "study"
    found: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for variant in VARIANTS:
        of_variant = as_feature if variant == "feature" else data
        for seed in range(seeds):
            model, _ = train_model(
                config.model.name,
                config.model.params,
                config.training.model_copy(update={"seed": seed}),
                of_variant.training_data,
                state_dir=work / "state",
                tensorboard_dir=work / "tensorboard",
                without=(CANDIDATES,) if variant == "without" else (),
                progress=f"{variant}, seed {seed}",
            )
            forget(work / "state")
            found[variant].append(_against_truth(model, of_variant, truth, first))
    return found


def _chances(file: Path) -> pd.Series:
    """Of a click on what is examined, by time of the request and item."""
    truth = pd.read_parquet(file, columns=["time_us", "item_id", "probability"])
    return truth.set_index(["time_us", "item_id"])["probability"]


def _against_truth(model: RankingModel, data: TrialData, truth: pd.Series, first: float) -> float:
    scores, keys = [], []
    for examples in tf.data.TFRecordDataset(data.examples["test"], compression_type="GZIP").batch(512):
        inputs = data.training_data.transform.examples(examples)
        if COLUMN in inputs:
            inputs[COLUMN] = tf.fill(tf.shape(inputs[COLUMN]), tf.cast(first, inputs[COLUMN].dtype))
        logits = model(inputs).numpy()
        for row, data_of_one in zip(logits, examples.numpy(), strict=True):
            feature = tf.train.Example.FromString(data_of_one).features.feature
            items = feature[raw_features.CANDIDATE_ITEM_ID].bytes_list.value
            time = feature[raw_features.REQUEST_TIME].int64_list.value[0]
            scores.append(row[: len(items)])
            keys += [(time, item.decode()) for item in items]
    return auc_of_chances(np.concatenate(scores), truth.loc[keys].to_numpy())


def main(directory: str, seeds: str = "3") -> None:
    """Prints the study as a table."""
    for variant, aucs in position_study(Path(directory), int(seeds)).items():
        each = " ".join(f"{auc:.4f}" for auc in aucs)
        console_on(sys.stdout).print(
            f"{variant:8} mean {np.mean(aucs):.4f}  std {np.std(aucs):.4f}  seeds {each}", highlight=False
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
