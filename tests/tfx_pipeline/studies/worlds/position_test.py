"""The world of positions: what is examined and clicked, and what models make of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import yaml

from tfx_pipeline.studies.worlds.parts import WORLDS, Examination
from tfx_pipeline.studies.worlds.position import auc_of_chances
from tfx_pipeline.studies.worlds.starter_config import starter_config
from tfx_pipeline.studies.worlds.synthetic import write_demo_logs

SMALL = {"users": 200, "items": 100, "requests": 6_000}


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> pd.DataFrame:
    folder = write_demo_logs(tmp_path_factory.mktemp("position") / "data", world=WORLDS["position"], **SMALL)
    log = pd.read_parquet(folder / "interactions.parquet")
    assert {"position", "clicked"} <= set(log)
    return pd.read_parquet(folder / "truth.parquet")


def test_positions_of_a_request_are_1_to_n(truth):
    for _, places in list(truth.groupby("request_id")["position"])[:200]:
        assert sorted(places) == list(range(1, len(places) + 1))


def test_a_click_takes_examination_and_relevance(truth):
    by_place = truth.groupby("position")[["clicked", "probability"]].mean()
    for place in (1, 2, 4):
        expected = by_place["probability"][place] / place
        assert by_place["clicked"][place] == pytest.approx(expected, abs=4 * np.sqrt(expected / 6_000))


def test_good_items_come_first(truth):
    by_place = truth.groupby("position")["probability"].mean()[:6].to_numpy()
    assert (np.diff(by_place) < 0).all()


def test_without_examination_there_is_no_position(tmp_path):
    world = dataclasses.replace(WORLDS["position"], examination=None)
    folder = write_demo_logs(tmp_path / "data", world=world, users=40, items=60, requests=300)
    assert "position" not in pd.read_parquet(folder / "interactions.parquet")


def test_all_that_is_shown_is_examined_without_decay(tmp_path):
    world = dataclasses.replace(WORLDS["position"], examination=Examination(decay=0.0))
    folder = write_demo_logs(tmp_path / "data", world=world, users=40, items=60, requests=2_000)
    found = pd.read_parquet(folder / "truth.parquet")
    assert found["clicked"].mean() == pytest.approx(found["probability"].mean(), abs=0.02)


def test_the_configuration_that_is_written_has_the_column():
    values = yaml.safe_load(starter_config("position", WORLDS["position"], "config.yaml"))
    assert values["features"]["candidate"]["position"]["role"] == "bias"
    assert values["comparison"]["models"] == {"mean_pooling": {}, "mean_pooling~candidates": {}}
    assert "candidate" not in yaml.safe_load(starter_config("mixed", WORLDS["mixed"], "config.yaml"))["features"]


def test_auc_of_chances_is_the_mean_over_drawn_labels():
    rng = np.random.default_rng(0)
    chances = rng.random(40)
    scores = np.round(chances + rng.normal(0, 0.3, 40), 1)  # ties among them
    pairs = [
        (p * (1 - q), 1.0 if s > t else 0.5 if s == t else 0.0)
        for p, s in zip(chances, scores, strict=True)
        for q, t in zip(chances, scores, strict=True)
    ]
    expected = sum(weight * win for weight, win in pairs) / sum(weight for weight, _ in pairs)
    assert auc_of_chances(scores, chances) == pytest.approx(expected, abs=1e-9)
