from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tfx_pipeline.studies.worlds.calibration import CLICK_RATE, calibrate
from tfx_pipeline.studies.worlds.parts import PARTS, WORLDS, WorldParts, measured_shares
from tfx_pipeline.studies.worlds.synthetic import write_demo_logs


def test_correlated_parts_get_their_shares():
    rng = np.random.default_rng(1)
    common, *own = rng.standard_normal((7, 20_000))
    raw = {
        part: part_own * (number + 1) + 0.8 * common
        for number, (part, part_own) in enumerate(zip(PARTS, own, strict=True))
    }
    raw["popularity"] -= 2.5 * common

    def play(weights):
        return {part: getattr(weights, part) * raw[part] for part in PARTS}

    parts = WorldParts(taste=0.1, content=0.2, popularity=0.1, context=0.05, noise=0.55)
    weights = calibrate(parts, play)
    assert measured_shares(play(weights)) == pytest.approx(parts.shares, abs=1e-3)
    assert weights.interaction == weights.profile == 0
    logit = weights.intercept + np.sum(list(play(weights).values()), axis=0)
    assert np.mean(1 / (1 + np.exp(-logit))) == pytest.approx(CLICK_RATE, abs=0.005)


def test_noise_alone_is_a_world():
    weights = calibrate(WorldParts(noise=1.0), lambda weights: {part: np.zeros(50) for part in PARTS})
    assert all(getattr(weights, part) == 0 for part in PARTS)
    assert weights.intercept == pytest.approx(np.log(CLICK_RATE / (1 - CLICK_RATE)))


@pytest.mark.parametrize("name", ["mixed", "interaction"])
def test_a_log_has_the_shares_that_were_asked_for(tmp_path, name):
    world = WORLDS[name].with_shares({"context": 0.05})
    data = write_demo_logs(tmp_path / "data", world=world, users=300, items=200, requests=3000)
    measured = json.loads((data / "demo.json").read_text())["measured"]
    assert measured["shares"] == pytest.approx(world.parts.shares, abs=0.01)
    assert measured["click_rate"] == pytest.approx(CLICK_RATE, abs=0.02)
    truth, added = pd.read_parquet(data / "truth.parquet"), pd.read_parquet(data / "truth_parts.parquet")
    assert list(added.columns) == list(PARTS)
    # The parts, added up, are the logit.
    logit = np.log(truth["probability"] / (1 - truth["probability"]))
    np.testing.assert_allclose(added.sum(axis=1) + measured["weights"]["intercept"], logit, atol=1e-4)
    assert measured_shares({part: added[part].to_numpy() for part in PARTS}) == pytest.approx(
        measured["shares"], abs=1e-4
    )
