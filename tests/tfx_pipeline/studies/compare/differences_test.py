"""Differences to a reference: mean over seeds, verdict, and how much more there is in a slice."""

from __future__ import annotations

import numpy as np
import pytest

from tfx_pipeline.evaluation.candidate_table import CandidateTable
from tfx_pipeline.evaluation.metrics import GAUC, LogLoss
from tfx_pipeline.studies.compare.differences import Group, verdict
from tfx_pipeline.studies.compare.report import Excess

AT_K = (1, 5)


def table(strength: float, seed: int, rows: int = 3000) -> CandidateTable:
    """The same candidates for every model; a stronger model knows more of the label, above all of rare items."""
    rng = np.random.default_rng(9)
    labels = rng.random(rows) < 0.25
    impressions = rng.choice([0, 2, 20, 200], rows)
    users = rng.integers(0, 300, rows).astype(np.uint64)
    noise = np.random.default_rng(seed).normal(size=rows)
    logit = np.where(impressions < 5, 2, 0.5) * strength * (labels - 0.25) + noise - 1
    probabilities = (1 / (1 + np.exp(-logit))).astype(np.float32)
    # Requests of ten candidates of one user.
    requests = np.arange(rows, dtype=np.int32) // 10
    users = users[requests * 10]
    return CandidateTable(
        labels, probabilities, users, requests, impressions, np.zeros(rows, np.int64), impressions > 0
    )


@pytest.fixture(scope="module")
def tables() -> list[list[CandidateTable]]:
    """Reference, a copy of it, and a better model; two seeds each."""
    return [[table(strength, seed) for seed in (1, 2)] for strength in (0.5, 0.5, 1.0)]


@pytest.fixture(scope="module")
def groups(tables) -> tuple[Group, Group]:
    """All rows, and the rows of rare items."""
    rare = tables[0][0].train_impressions < 5
    return Group.of(tables, np.ones(len(rare), bool), AT_K), Group.of(tables, rare, AT_K)


def test_mean_is_the_paired_mean_over_seeds(tables, groups):
    found = groups[0].differences(2, 0)
    for name, metric in (("gauc", GAUC), ("log_loss", LogLoss)):
        by_seed = [metric.compute(tables[2][seed].rows()) - metric.compute(tables[0][seed].rows()) for seed in (0, 1)]
        assert found[name].by_seed == pytest.approx(by_seed)
        assert found[name].mean == pytest.approx(np.mean(by_seed))
        assert found[name].std == pytest.approx(np.std(by_seed, ddof=1))
        assert found[name].low < found[name].mean < found[name].high


def test_a_better_model_is_ahead_in_every_metric_and_equal_ones_are_undecided(groups):
    assert {value.verdict for value in groups[0].differences(2, 0).values()} == {"ahead"}
    assert {value.verdict for value in groups[0].differences(0, 2).values()} == {"behind"}
    for value in groups[0].differences(1, 0).values():
        assert (value.mean, value.low, value.high) == (0, 0, 0)
        assert value.verdict == "undecided"


def test_of_one_seed_nothing_is_decided(tables):
    alone = Group.of([seeds[:1] for seeds in tables], np.ones(len(tables[0][0].labels), bool), AT_K)
    found = alone.differences(2, 0)["gauc"]
    assert found.low > 0
    assert found.verdict == "one seed"
    assert verdict(np.array([0.1, 0.2]), (0.05, 0.25), lower_is_better=False) == "ahead"


def test_beyond_overall_is_the_difference_of_differences(groups):
    overall, rare = groups
    found = rare.beyond(overall, 2, 0)["auc"]
    expected = rare.differences(2, 0)["auc"].mean - overall.differences(2, 0)["auc"].mean
    assert found.mean == pytest.approx(expected)
    assert 0 < found.low < found.mean < found.high
    assert overall.beyond(overall, 2, 0)["auc"] == Excess(mean=0, low=0, high=0)


@pytest.mark.parametrize(
    ("by_seed", "ends", "lower_is_better", "expected"),
    [
        ([0.01, 0.02], (0.005, 0.03), False, "ahead"),
        ([-0.01, -0.02], (-0.03, -0.005), False, "behind"),
        ([-0.01, -0.02], (-0.03, -0.005), True, "ahead"),
        ([0.01, 0.02], (0.005, 0.03), True, "behind"),
        # Zero within the interval, a seed that says otherwise, no interval.
        ([0.01, 0.02], (-0.001, 0.03), False, "undecided"),
        ([-0.001, 0.03], (0.005, 0.03), False, "undecided"),
        ([0.01, 0.02], None, False, "undecided"),
    ],
)
def test_verdict(by_seed, ends, lower_is_better, expected):
    assert verdict(np.array(by_seed), ends, lower_is_better=lower_is_better) == expected
