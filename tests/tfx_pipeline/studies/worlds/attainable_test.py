from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tfx_pipeline.errors import DataError
from tfx_pipeline.studies.worlds.attainable import AttainableSplit, attainable, attainable_by_part
from tfx_pipeline.studies.worlds.parts import PARTS


@pytest.fixture(scope="module")
def truth(demo_directory):
    return pd.read_parquet(demo_directory / "truth.parquet")


@pytest.fixture(scope="module")
def cuts(truth):
    return [pd.Timestamp(t, unit="us", tz="UTC").to_pydatetime() for t in np.quantile(truth["time_us"], [0.8, 0.9])]


@pytest.fixture(scope="module")
def splits(demo_directory, cuts):
    """What is attainable on each split."""
    return attainable(demo_directory, *cuts)


def split(truth, cuts, name):
    eval_from, test_from = (int(cut.timestamp() * 1e6) for cut in cuts)
    bounds = {"train": (0, eval_from), "eval": (eval_from, test_from), "test": (test_from, 2**62)}[name]
    return truth[(truth["time_us"] >= bounds[0]) & (truth["time_us"] < bounds[1])]


@pytest.mark.parametrize("name", ["train", "eval", "test"])
def test_is_the_auc_of_the_true_probabilities(splits, truth, cuts, name):
    found, rows = splits[name], split(truth, cuts, name)
    assert found.impressions == len(rows)
    assert found.auc == pytest.approx(roc_auc_score(rows["clicked"], rows["probability"]), abs=1e-9)
    users = [user for _, user in rows.groupby("user_id") if user["clicked"].nunique() == 2]
    scores = [roc_auc_score(user["clicked"], user["probability"]) for user in users]
    assert found.gauc == pytest.approx(np.average(scores, weights=[len(user) for user in users]), abs=1e-9)


def test_there_is_much_to_learn_and_popularity_does_not_tell(splits, truth, cuts):
    test = splits["test"]
    assert 0.72 < test.auc < 0.82
    assert test.gauc > 0.72
    train, rows = split(truth, cuts, "train"), split(truth, cuts, "test")
    clicks = train.groupby("item_id")["clicked"].agg(["sum", "count"])
    rate = (clicks["sum"] + 2) / (clicks["count"] + 10)
    popularity = roc_auc_score(rows["clicked"], rows["item_id"].map(rate).fillna(rate.mean()))
    assert popularity < 0.65
    assert test.gain_share(popularity) < 0.5


def test_gain_share(splits):
    test = splits["test"]
    assert test.gain_share(0.5) == 0
    assert test.gain_share(test.auc) == 1


def test_where_nothing_can_be_gained_there_is_no_share():
    """As in a world of noise alone, whose true probabilities are all one."""
    for auc in (0.5, 0.49):
        assert np.isnan(AttainableSplit(100, auc, 0.5).gain_share(0.6))


def test_times_without_a_zone_are_utc(demo_directory, cuts, splits):
    naive = [cut.replace(tzinfo=None) for cut in cuts]
    assert attainable(demo_directory, *naive) == splits


def test_refusals(demo_directory, tmp_path):
    early, late = dt.datetime(2025, 3, 10), dt.datetime(2026, 1, 1)
    with pytest.raises(DataError, match=r"truth\.parquet is absent"):
        attainable(tmp_path, early, late)
    with pytest.raises(DataError, match="test split has 0 impressions"):
        attainable(demo_directory, early, late)


def test_worth_of_a_part_is_the_auc_of_its_column(demo_directory, truth, cuts, splits):
    added = pd.read_parquet(demo_directory / "truth_parts.parquet")
    worth = attainable_by_part(demo_directory, *cuts)
    assert list(worth) == ["train", "eval", "test"]
    rows = split(truth, cuts, "test")
    assert list(worth["test"]) == list(PARTS)
    logit = np.log(rows["probability"] / (1 - rows["probability"]))
    for part in PARTS:
        values = added.loc[rows.index, part]
        assert worth["test"][part].alone == pytest.approx(roc_auc_score(rows["clicked"], values), abs=1e-9)
        expected = roc_auc_score(rows["clicked"], logit - values)
        assert worth["test"][part].without == pytest.approx(expected, abs=1e-6)
        assert 0.5 < worth["test"][part].alone < splits["test"].auc


def test_worth_wants_the_parts(demo_directory, cuts, tmp_path):
    (tmp_path / "truth.parquet").write_bytes((demo_directory / "truth.parquet").read_bytes())
    with pytest.raises(DataError, match=r"truth_parts\.parquet is absent"):
        attainable_by_part(tmp_path, *cuts)
