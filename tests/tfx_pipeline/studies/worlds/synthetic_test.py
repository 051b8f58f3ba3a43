from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfx_pipeline.errors import DataError
from tfx_pipeline.studies.worlds.synthetic import write_demo_logs

SMALL = {"users": 40, "items": 60, "requests": 300}
FILES = [
    "demo.json",
    "image_embeddings.npz",
    "interactions.parquet",
    "items.csv",
    "text_embeddings.parquet",
    "truth.parquet",
    "truth_parts.parquet",
    "users.jsonl",
]


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(directory.iterdir())}


def test_same_seed_same_bytes(tmp_path):
    first = contents(write_demo_logs(tmp_path / "a", **SMALL))
    assert list(first) == FILES
    assert contents(write_demo_logs(tmp_path / "b", **SMALL)) == first
    other = contents(write_demo_logs(tmp_path / "c", seed=8, **SMALL))
    assert all(other[name] != first[name] for name in FILES)


def test_the_demo_is_as_ever(tmp_path):
    """Figures that are published of the demo hold as long as its log does."""
    truth = pd.read_parquet(write_demo_logs(tmp_path / "data", **SMALL) / "truth.parquet")
    drawn = ",".join(truth["item_id"]) + ",".join(map(str, truth["clicked"]))
    assert (
        hashlib.sha256(drawn.encode()).hexdigest() == "7c804e3cada80b16818eb4e8b087c672a31f652e1fb72554acbb543217165a50"
    )
    assert truth["probability"][:2].tolist() == pytest.approx([0.04982656677240346, 0.20996380187076882], rel=1e-6)


def test_demo_says_what_its_parts_are(demo_directory):
    written = json.loads((demo_directory / "demo.json").read_text())
    # Those that its definition states were measured on this very log.
    wanted = {part: share for part, share in written["world"]["parts"].items() if part != "cold_items"}
    assert written["measured"]["shares"] == pytest.approx(wanted, abs=0.001)
    truth = pd.read_parquet(demo_directory / "truth.parquet")
    assert written["measured"]["click_rate"] == pytest.approx(truth["clicked"].mean())


def test_second_call_touches_nothing_and_other_arguments_replace(tmp_path):
    directory = write_demo_logs(tmp_path / "data", **SMALL)
    before = {file: file.stat().st_mtime_ns for file in [directory, *directory.iterdir()]}
    write_demo_logs(directory, **SMALL)
    assert {file: file.stat().st_mtime_ns for file in [directory, *directory.iterdir()]} == before
    old = contents(directory)
    write_demo_logs(directory, seed=8, **SMALL)
    assert contents(directory)["truth.parquet"] != old["truth.parquet"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


def test_what_a_killed_call_left_is_cleared(tmp_path):
    (tmp_path / ".incoming-0123abcd-data").mkdir()
    (tmp_path / ".incoming-0123abcd-data/users.jsonl").write_text("half")
    directory = write_demo_logs(tmp_path / "data", **SMALL)
    assert list(contents(directory)) == FILES
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


def test_foreign_files_are_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(DataError, match=r"not the demo's \(no demo\.json\)"):
            write_demo_logs(path, **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("numbers", [{"users": 5}, {"items": 10}, {"requests": 30}, {"candidates": 1}])
def test_impossible_numbers(tmp_path, numbers):
    with pytest.raises(ValueError, match="wanted users >= 20"):
        write_demo_logs(tmp_path / "data", **(SMALL | numbers))


def test_sizes(demo_directory):
    truth = pd.read_parquet(demo_directory / "truth.parquet")
    assert truth["request_id"].nunique() == 20_000
    assert truth["user_id"].nunique() >= 2_000
    assert len(pd.read_csv(demo_directory / "items.csv")) == 1_000
    assert truth["item_id"].nunique() > 990
    sizes = truth.groupby("request_id").size()
    assert (sizes.min(), sizes.max()) == (4, 12)
    assert sizes.mean() == pytest.approx(8, abs=0.1)
    assert 0.1 < truth["clicked"].mean() < 0.3
    assert not truth.duplicated(["request_id", "item_id"]).any()


def test_labels_were_drawn_with_the_probabilities(demo_directory):
    truth = pd.read_parquet(demo_directory / "truth.parquet")
    tenths = truth.groupby(pd.qcut(truth["probability"], 10, labels=False))
    counts, drawn, expected = tenths.size(), tenths["clicked"].mean(), tenths["probability"].mean()
    deviations = (drawn - expected) / np.sqrt(expected * (1 - expected) / counts)
    assert deviations.abs().max() < 4


def test_planted_troubles_are_few_and_there(demo_directory):
    log = pd.read_parquet(demo_directory / "interactions.parquet")
    truth = pd.read_parquet(demo_directory / "truth.parquet")
    catalogue = pd.read_csv(demo_directory / "items.csv")
    broken = {
        "null user": log["user_id"].isna(),
        "null item": log["item_id"].isna(),
        "bad label": ~log["clicked"].isin([0, 1]),
        "bad time": pd.to_datetime(log["time"], errors="coerce", format="ISO8601").isna(),
    }
    assert all(rows.sum() >= 20 for rows in broken.values())
    bad = np.logical_or.reduce(list(broken.values()))
    assert bad.mean() < 0.01
    good = log[~bad]
    duplicates = good.duplicated(keep="first")
    assert duplicates.sum() >= 50
    # What is neither broken nor a duplicate is exactly what the truth knows, in its order.
    clean = good[~duplicates].reset_index(drop=True)
    columns = ["request_id", "user_id", "item_id", "clicked"]
    pd.testing.assert_frame_equal(clean[columns], truth[columns])
    times = pd.to_datetime(clean["time"]).dt.tz_localize(None).astype("datetime64[us]").astype("int64")
    assert (times.to_numpy() == truth["time_us"].to_numpy()).all()
    assert len(set(log["item_id"].dropna()) - set(catalogue["item_id"])) == 3


def test_embeddings_have_gaps(demo_directory):
    catalogue = set(pd.read_csv(demo_directory / "items.csv")["item_id"])
    text = pd.read_parquet(demo_directory / "text_embeddings.parquet")
    with np.load(demo_directory / "image_embeddings.npz") as arrays:
        image_ids, image = arrays["item_id"], arrays["embedding"]
    assert {len(row) for row in text["embedding"]} == {48}
    assert image.shape[1] == 32
    assert 10 < len(catalogue - set(text["item_id"])) < 60
    assert 10 < len(catalogue - set(image_ids)) < 90
    assert 5 < (~image.any(axis=1)).sum() < 40


def test_late_items_and_late_users(demo_directory):
    truth = pd.read_parquet(demo_directory / "truth.parquet").sort_values("time_us")
    test_from = truth["time_us"].quantile(0.8)
    before, after = truth[truth["time_us"] < test_from], truth[truth["time_us"] >= test_from]
    assert 30 <= len(set(after["item_id"]) - set(before["item_id"])) <= 90
    assert 10 <= len(set(after["user_id"]) - set(before["user_id"])) <= 60


def test_probability_depends_on_the_users_own_clicks(demo_directory):
    """Items like a user's earlier clicks are clicked more often, and were so when they were shown."""
    topics = pd.read_csv(demo_directory / "items.csv").set_index("item_id")["category"].to_dict()
    truth = pd.read_parquet(demo_directory / "truth.parquet")
    seen: dict[str, list] = defaultdict(list)
    shares, labels = [], []
    for user, item, clicked in zip(truth["user_id"], truth["item_id"], truth["clicked"], strict=True):
        topic, history = topics.get(item), seen[user][-20:]
        if len(history) >= 5 and topic is not None:
            shares.append(history.count(topic) / len(history))
            labels.append(clicked)
        if clicked:
            seen[user].append(topic)
    shares, labels = np.array(shares), np.array(labels)
    assert labels[shares > 0.2].mean() > 1.5 * labels[shares == 0].mean()


def test_profiles(demo_directory):
    users = pd.DataFrame(json.loads(line) for line in (demo_directory / "users.jsonl").open())
    assert len(users) == 2_000
    assert set(users["gender"].dropna()) == {"f", "m"}
    assert users["age"].dropna().between(16, 74).all()
    assert 0 < users["age"].isna().mean() < 0.05
