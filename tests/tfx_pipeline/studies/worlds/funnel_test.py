"""The world of clicks and purchases: its truth, and what learning over the entire space is worth there.

ESMM's p(click) p(buy | click) against the same p(click) times a model of purchases that has seen clicked impressions
alone, both judged on all impressions by the true probabilities.

    .venv/bin/python -m tests.tfx_pipeline.studies.worlds.funnel_test FOLDER [SEED ...]
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from tfx_pipeline.studies.worlds.parts import WORLDS
from tfx_pipeline.studies.worlds.synthetic import write_demo_logs

SIZES = {"users": 1000, "items": 300, "requests": 10_000}


def test_the_truth_of_purchases(tmp_path):
    data = write_demo_logs(tmp_path / "data", world=WORLDS["funnel"], users=300, items=200, requests=3000)
    truth = pd.read_parquet(data / "truth.parquet")
    clicked, bought, p = truth["clicked"] == 1, truth["bought"] == 1, truth["purchase_probability"]
    assert not (bought & ~clicked).any()
    measured = json.loads((data / "demo.json").read_text())["measured"]
    assert measured["purchase_rate"] == bought.mean() and measured["click_rate"] == clicked.mean()
    # What was not clicked would be bought half as often: that is the bias of clicked impressions.
    assert p[clicked].mean() == pytest.approx(measured["conversion_of_clicked"])
    assert p[clicked].mean() > 1.5 * p[~clicked].mean()
    assert bought[clicked].mean() == pytest.approx(p[clicked].mean(), abs=0.03)
    log = pd.read_parquet(data / "interactions.parquet")
    assert set(log["bought"]) == {0, 1}


def test_other_worlds_have_no_purchases(tmp_path):
    data = write_demo_logs(tmp_path / "data", world=WORLDS["mixed"], users=50, items=100, requests=200)
    for file in ("truth.parquet", "interactions.parquet"):
        assert not {"bought", "purchase_probability"} & set(pd.read_parquet(data / file).columns)


class Judged(NamedTuple):
    """Of a model's probabilities of a click and a purchase, on all impressions of test, by the truth.

    `loss`: cross-entropy with the true probabilities, above that of these themselves, in millinats. `auc`: of the drawn
    purchases. `promised`: mean probability over the true mean. `conversion`: p(buy | click) of impressions that were
    not clicked, over the truth of it.
    """

    loss: float
    auc: float
    promised: float
    conversion: float


def _prepared(folder: Path):
    """Trial data, and the truth of the candidates of test in the order of the examples."""
    from tfx_pipeline.config import load_config
    from tfx_pipeline.studies.preparation import prepare
    from tfx_pipeline.studies.worlds.starter_config import starter_config

    world = WORLDS["funnel"]
    data = write_demo_logs(folder / "data", world=world, **SIZES)
    file = folder / "config.yaml"
    file.write_text(starter_config("funnel", world, str(file)), encoding="utf-8")
    settings = ["model.name=dmf_paper", "training.epochs=8", "training.patience=2", "training.batch_size=256"]
    config = load_config(file, settings)
    return config, prepare(config), pd.read_parquet(data / "truth.parquet")


def _scored(model, data, objectives: int):
    """Own probabilities of test: [n, objectives], and a frame of user, time and item of each row."""
    import tensorflow as tf

    rows, scores = [], []
    transform = data.training_data.transform
    score = tf.function(lambda examples: model.probabilities(model(transform.examples(examples))), autograph=False)
    for examples in tf.data.TFRecordDataset(data.examples["test"], "GZIP").batch(256):
        found = score(examples).numpy()
        found = found if objectives > 1 else found[..., None]
        for place, record in enumerate(examples.numpy()):
            feature = tf.train.Example.FromString(record).features.feature
            items = [value.decode() for value in feature["candidate_item_id"].bytes_list.value]
            user = feature["user_id"].bytes_list.value[0].decode()
            time = feature["request_time_us"].int64_list.value[0]
            rows += [(user, time, item) for item in items]
            scores.append(found[place, : len(items)])
    return np.concatenate(scores).astype(float), pd.DataFrame(rows, columns=["user_id", "time_us", "item_id"])


def _on_clicks_alone(config, data, seed: int, folder: Path):
    """A model of purchases with one logit, trained on clicked impressions: those not clicked weigh nothing."""
    from tfx_pipeline.training.model_training import new_model
    from tfx_pipeline.training.reproducible import make_reproducible
    from tfx_pipeline.training.trainer import train
    from tfx_pipeline.transform.dataset import request_batches

    make_reproducible(seed)
    given = data.training_data
    alone = dataclasses.replace(given, objectives={})

    def batches(split, **options):
        found = request_batches(
            given.files[split],
            given.tft_output,
            given.transform,
            config.training.batch_size,
            requests=given.requests[split],
            further_labels=given.further_labels,
            **options,
        )
        return found.map(lambda x, y, w: (x, y[..., 1], w * y[..., 0]))

    model, _ = train(
        lambda: new_model(config.model.name, config.model.params, alone, seed=seed),
        batches("train", shuffle_buffer=given.requests["train"], seed=seed),
        batches("eval"),
        config.training,
        train_requests=given.requests["train"],
        eval_requests=given.requests["eval"],
        state_dir=folder / f"clicks-{seed}",
        tensorboard_dir=folder / f"clicks-{seed}-board",
    )
    return model


def contest(folder: Path, seeds: list[int]) -> dict[str, list[Judged]]:
    """Both contenders with each seed; the data of all are the same."""
    from dmf_keras.metrics import auc_by_group
    from tfx_pipeline.training.model_training import train_model

    config, data, truth = _prepared(folder)
    found: dict[str, list[Judged]] = {"entire space": [], "clicks alone": []}
    for seed in seeds:
        training = config.training.model_copy(update={"seed": seed})
        model, _ = train_model(
            config.model.name,
            config.model.params,
            training,
            data.training_data,
            state_dir=folder / f"esmm-{seed}",
            tensorboard_dir=folder / f"esmm-{seed}-board",
        )
        own, rows = _scored(model, data, 2)
        known = rows.merge(truth, how="left", on=["user_id", "time_us", "item_id"], validate="one_to_one")
        alone, _ = _scored(_on_clicks_alone(config, data, seed, folder), data, 1)
        p_buy = known["purchase_probability"].to_numpy()
        p, unclicked = known["probability"].to_numpy() * p_buy, known["clicked"].to_numpy() == 0
        for name, conversion in (("entire space", own[:, 1]), ("clicks alone", alone[:, 0])):
            q = np.clip(own[:, 0] * conversion, 1e-7, 1 - 1e-7)
            excess = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
            bought = known["bought"].to_numpy() == 1
            auc = auc_by_group(np.zeros(len(q), np.int8), bought, q).auc[0]
            share = conversion[unclicked].mean() / p_buy[unclicked].mean()
            found[name].append(Judged(1000 * excess.mean(), float(auc), q.mean() / p.mean(), float(share)))
            print(name, seed, found[name][-1], flush=True)
    return found


@pytest.mark.slow
def test_the_entire_space_is_closer_to_the_truth_than_clicks_alone(tmp_path):
    found = contest(tmp_path, [0, 1, 2])
    entire, clicks = found["entire space"], found["clicks alone"]
    # Of impressions that were not clicked, clicks alone promise more purchases than the truth.
    far = [np.array([abs(one.conversion - 1) for one in each]) for each in (entire, clicks)]
    # 0.21 and 0.47 off, give or take 0.09 with the seed, so that the means of three are 0.26 apart, give or take 0.07.
    assert far[0].mean() + 0.05 < far[1].mean(), found
    # The product with the same p(click), on all impressions, is no further from it. How much nearer, by 0.8 of 18,
    # three seeds do not tell: they differ by as much, and their mean may be 0.5 off; three times that is allowed for.
    assert np.mean([other.loss - one.loss for one, other in zip(entire, clicks, strict=True)]) > 0.8 - 3 * 0.5, found


if __name__ == "__main__":
    contest(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [0, 1, 2])
