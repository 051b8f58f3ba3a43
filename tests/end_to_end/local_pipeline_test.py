"""The whole pipeline on small logs: what it leaves, reuses, survives, and what `dmf rank` says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from serving import contract
from tests.end_to_end.conftest import ANOTHER
from tfx_pipeline.cli import main
from tfx_pipeline.errors import DataError

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def _states(summary) -> dict[str, str]:
    return {step["node"]: step["state"] for step in summary["steps"]}


def _rerun(finished_run, *overrides: str, **options):
    from tfx_pipeline.config import load_config
    from tfx_pipeline.runners.run import run

    return run(load_config(finished_run.config_file, overrides), **options).to_json()


def test_summary_counts_what_the_logs_hold(finished_run):
    summary = json.loads((finished_run.config_file.parent / "summary.json").read_text())
    assert summary == finished_run.summary
    ingestion = summary["ingestion"]
    kept = sum(split["impressions"] for split in ingestion["splits"].values())
    dropped = sum(ingestion["quarantined"].values()) + ingestion["duplicates"] + ingestion["merged_labels"]
    assert ingestion["rows_read"] == kept + dropped
    assert sum(ingestion["quarantined"].values()) > 0
    assert sum(ingestion["audit"]["violations"].values()) == 0
    assert sum(split["requests"] for split in ingestion["splits"].values()) == 1500
    assert set(_states(summary).values()) == {"ran"}
    assert summary["peak_memory_mb"] > 100


def test_warnings_are_sentences_and_the_share_of_content_is_that_of_impressions(finished_run):
    summary = finished_run.summary
    content = summary["metrics"]["test"]["content"]
    with_content, total = content["with"]["example_count"], sum(part["example_count"] for part in content.values())
    assert summary["content_share"] == pytest.approx(with_content / total)
    # Of 150 users and two epochs.
    assert any(warning.startswith("Slices of test with fewer than 50 clicks") for warning in summary["warnings"])
    assert all(warning.endswith(".") for warning in summary["warnings"])


def test_metrics_are_about_every_candidate_of_each_split(finished_run):
    metrics, splits = finished_run.summary["metrics"], finished_run.summary["ingestion"]["splits"]
    assert set(metrics) == {"eval", "test"}
    for split, values in metrics.items():
        assert values["overall"]["example_count"] == splits[split]["impressions"]
        for column in ("item_frequency", "history_length", "content", "user"):
            assert sum(v["example_count"] for v in values[column].values()) == splits[split]["impressions"]


def test_evaluator_equals_the_pushed_model_scored_by_hand(finished_run):
    """AUC of the test split from the raw examples and the v1 loader, by scikit-learn."""
    import tensorflow as tf
    from sklearn.metrics import roc_auc_score

    from serving.export.servable import Servable

    files = list(Path(finished_run.summary["artifacts"]["examples"], "Split-test").glob("*.gz"))
    records = list(tf.data.TFRecordDataset([str(f) for f in files], "GZIP").as_numpy_iterator())
    labels, scores = [], []
    with Servable(finished_run.model, optimised=False) as servable:
        batch = servable.run(contract.SERVING_DEFAULT, {"examples": np.array(records, object)})[contract.SCORE]
    for record, row in zip(records, batch, strict=True):
        own = list(tf.train.Example.FromString(record).features.feature["label"].int64_list.value)
        labels += own
        scores += row[: len(own)].tolist()
    expected = finished_run.summary["metrics"]["test"]["overall"]["auc"]
    # Other batches round in another order, and a pair of scores that tie but for that is worth a few millionths.
    assert roc_auc_score(labels, scores) == pytest.approx(expected, abs=1e-4)


def test_a_scored_log_has_the_scores_of_the_test_splits_examples(finished_run, tmp_path, capsys):
    """`dmf score` over the run's own log against the exported model on the examples that ingestion wrote."""
    import pandas as pd
    import tensorflow as tf

    from serving.export.servable import Servable
    from tfx_pipeline.data.examples import raw_features

    log = finished_run.config_file.parent / "data" / "interactions.parquet"
    command = ["score", str(log), "--model", str(finished_run.model), "-o", str(tmp_path / "scores.parquet"), "--json"]
    assert main(command) == 0
    report, ingestion = json.loads(capsys.readouterr().out), finished_run.summary["ingestion"]
    splits = ingestion["splits"].values()
    assert report["rows_read"] == ingestion["rows_read"]
    assert report["quarantined"] == {reason: count for reason, count in ingestion["quarantined"].items() if count}
    assert report["repeated"] == ingestion["duplicates"] + ingestion["merged_labels"]
    assert report["rows_kept"] == sum(split["impressions"] for split in splits)
    assert report["requests"] == sum(split["requests"] for split in splits)
    assert (report["users"], report["users_without_profile"]) == (
        ingestion["users"],
        ingestion["users_without_profile"],
    )

    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert not scores.duplicated(["user_id", "request_id", "item_id"]).any()
    by_time = scores.set_index(["user_id", "item_id", "time"])["score"]
    files = list(Path(finished_run.summary["artifacts"]["examples"], "Split-test").glob("*.gz"))
    records = list(tf.data.TFRecordDataset([str(f) for f in files], "GZIP").as_numpy_iterator())
    with Servable(finished_run.model, optimised=False) as servable:
        batch = servable.run(contract.SERVING_DEFAULT, {"examples": np.array(records, object)})[contract.SCORE]
    checked = 0
    for record, expected in zip(records, batch, strict=True):
        feature = tf.train.Example.FromString(record).features.feature
        (user,) = feature[raw_features.USER_ID].bytes_list.value
        time_us = pd.Timestamp(feature[raw_features.REQUEST_TIME].int64_list.value[0], unit="us", tz="UTC")
        items = [item.decode() for item in feature[raw_features.CANDIDATE_ITEM_ID].bytes_list.value]
        found = by_time.loc[[(user.decode(), item, time_us) for item in items]]
        np.testing.assert_allclose(found, expected[: len(items)], atol=1e-6)
        checked += len(items)
    assert checked == ingestion["splits"]["test"]["impressions"]


def test_vocabulary_knows_nothing_of_later_splits(finished_run):
    import tensorflow as tf
    import tensorflow_transform as tft

    from tfx_pipeline.data.examples import raw_features
    from tfx_pipeline.transform import transformed_features

    def candidates(split: str) -> set[bytes]:
        files = Path(finished_run.summary["artifacts"]["examples"], f"Split-{split}").glob("*.gz")
        records = tf.data.TFRecordDataset([str(f) for f in files], "GZIP").as_numpy_iterator()
        examples = (tf.train.Example.FromString(record) for record in records)
        return {v for e in examples for v in e.features.feature[raw_features.CANDIDATE_ITEM_ID].bytes_list.value}

    output = tft.TFTransformOutput(finished_run.summary["artifacts"]["transform_graph"])
    vocabulary = set(output.vocabulary_by_name(transformed_features.ITEM_VOCABULARY))
    train = candidates("train")
    assert vocabulary == train
    assert (candidates("eval") | candidates("test")) - train, "the logs should have items launched late"


@contextlib.contextmanager
def _changed(file: Path, content: bytes | None):
    before = file.read_bytes() if file.exists() else None
    file.write_bytes(content) if content is not None else file.unlink()
    try:
        yield
    finally:
        file.write_bytes(before) if before is not None else file.unlink()


def test_what_has_changed_since_it_was_written_is_not_used(finished_run):
    artifacts = finished_run.summary["artifacts"]
    [shard] = Path(artifacts["transformed_examples"], "Split-train").glob("*.gz")
    stray = shard.with_name("data_tfrecord-00001-of-00002.gz")
    half, refusal = shard.read_bytes()[:500], r"Transform: .*Split-train/\S+ has 500 bytes instead of"
    with _changed(shard, half), pytest.raises(DataError, match=refusal):
        _rerun(finished_run)
    with _changed(stray, shard.read_bytes()), pytest.raises(DataError, match=rf"{stray.name} was added"):
        _rerun(finished_run)
    [variables] = Path(artifacts["model"]).rglob("variables.data-00000-of-00001")
    content = bytearray(variables.read_bytes())
    content[len(content) // 2] ^= 0xFF
    with _changed(variables, bytes(content)), pytest.raises(DataError, match=r"RankingTrainer: .*has other contents"):
        _rerun(finished_run)


def test_pushed_model_has_all_that_serving_needs(finished_run):
    from serving.export.servable_check import check_servable

    problems, figures = check_servable(finished_run.model, 1e-4)
    assert problems == []
    assert figures["golden_requests"] >= 10
    assert figures["max_difference"]["two_step_vs_rank"] <= 1e-5


def test_pushed_model_says_how_it_was_made_and_judged(finished_run):
    from tfx_pipeline.trained.inspection import inspect_model
    from tfx_pipeline.trained.replay.replay import replay
    from tfx_pipeline.trained.version import Version

    version, summary = Version(finished_run.model), finished_run.summary
    found = inspect_model(version).to_json()
    assert found["metadata"]["data"]["splits"] == summary["ingestion"]["splits"]
    assert found["metadata"]["training"]["metrics"] in summary["training"]["history"]
    assert found["evaluation"]["metrics"] == summary["metrics"]
    assert found["contract"]["signatures"]["rank_with_content"]["inputs"]["candidate_content/text"]["shape"][-1] == 48
    assert replay(version, None, run=finished_run.config_file.parent / "out", tolerance=1e-5).equal


def _how_to_look(finished_run) -> str:
    return f"to look at the run: dmf report {finished_run.config_file.parent / 'out'}"


def test_rerun_takes_everything_from_the_cache(finished_run, capfd):
    summary = _rerun(finished_run)
    assert capfd.readouterr().err.splitlines()[-2:] == [f"pushed {finished_run.model}", _how_to_look(finished_run)]
    states = _states(summary)
    assert states.pop("LatestBlessedModel") == "ran"
    assert set(states.values()) == {"cached"}, states
    assert summary["model_path"] == finished_run.summary["model_path"]
    assert summary["metrics"] == finished_run.summary["metrics"]


def test_unmet_threshold_keeps_the_model_from_being_pushed(finished_run, capfd):
    before = sorted(finished_run.model.parent.iterdir())
    summary = _rerun(finished_run, "evaluation.thresholds.auc.min=0.999")
    verdict = capfd.readouterr().err.partition("not pushed\n")[2].splitlines()
    assert verdict == [*(f"  {failure}" for failure in summary["validation"]["failures"]), _how_to_look(finished_run)]
    assert not summary["pushed"]
    assert summary["model_path"] is None
    assert any("auc" in failure and "0.999" in failure for failure in summary["validation"]["failures"])
    assert sorted(finished_run.model.parent.iterdir()) == before


def test_curated_schema_stops_the_run_with_the_anomaly(finished_run, tmp_path):
    """A domain that the logs leave: the run ends before training, with the feature and the value in the message."""
    from tfx_pipeline.errors import DataError

    schemas = sorted((finished_run.config_file.parent / "out/artifacts/SchemaGen").rglob("schema.pbtxt"))
    text = schemas[-1].read_text()
    assert 'name: "device"' in text
    curated = tmp_path / "schema.pbtxt"
    curated.write_text(
        re.sub(
            r'string_domain \{\s+name: "device".*?\n\}',
            'string_domain { name: "device" value: "fax" }',
            text,
            flags=re.S,
        )
    )
    assert '"fax"' in curated.read_text()
    with pytest.raises(DataError, match="device") as refused:
        _rerun(finished_run, f"data.schema_file={curated}")
    assert "Examples contain values missing from the schema" in str(refused.value)


def test_killed_run_is_completed_by_the_next(finished_run, tmp_path):
    """SIGKILL in the middle of training; the next run ends, and no version folder is damaged or half-written."""
    versions = {path.name for path in finished_run.model.parent.iterdir()}
    command = [sys.executable, "-m", "tfx_pipeline.cli", "run", "--config", str(finished_run.config_file)]
    command += [word for setting in ANOTHER for word in ("--set", setting)]
    console = tmp_path / "console.txt"
    with console.open("w") as output:
        process = subprocess.Popen(command, stderr=output, start_new_session=True, cwd=ROOT)
        deadline = time.monotonic() + 1200
        while "epoch 2/12" not in console.read_text() and time.monotonic() < deadline:
            assert process.poll() is None, console.read_text()
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "epoch 2/12" in console.read_text()
    state = finished_run.config_file.parent / "out" / "training_state"
    assert any(state.rglob("best-*.weights.h5"))
    assert {path.name for path in finished_run.model.parent.iterdir()} == versions

    summary = _rerun(finished_run, *ANOTHER)
    assert summary["pushed"]
    assert len(summary["training"]["history"]) == 12
    assert not any(state.iterdir())
    new = {path.name for path in finished_run.model.parent.iterdir()} - versions
    assert new == {Path(summary["model_path"]).name}


def test_changed_training_keeps_examples_and_transform(finished_run):
    """Of `ANOTHER`, which the test before this one has left in the cache."""
    before = _rerun(finished_run, *ANOTHER)
    summary = _rerun(finished_run, *ANOTHER, "training.learning_rate=0.002")
    states = _states(summary)
    cached = {"BehaviorLogExampleGen", "ItemContentGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform"}
    assert {node for node, state in states.items() if state == "cached"} == cached
    trainer = next(step for step in summary["steps"] if step["node"] == "RankingTrainer")
    assert trainer["reason"] == "changed: custom_config.training"
    assert summary["pushed"]
    assert summary["model_path"] not in (before["model_path"], finished_run.summary["model_path"])


def _rank(capsys, *arguments: str):
    assert main(["rank", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_top_of_the_catalogue_for_a_user_of_the_logs(finished_run, capsys):
    import pandas as pd

    truth = pd.read_parquet(finished_run.config_file.parent / "data/truth.parquet")
    clicks = truth[truth["clicked"].astype(bool)].sort_values("time_us", kind="stable")
    user = clicks["user_id"].iloc[-1]
    ranked = _rank(capsys, "--model", str(finished_run.model.parent), "--user", user, "--top", "5")
    assert ranked["model"] == str(max(finished_run.model.parent.iterdir(), key=lambda path: int(path.name)))
    assert ranked["history"] == clicks[clicks["user_id"] == user]["item_id"].tolist()[-50:]
    scores = [entry["score"] for entry in ranked["ranking"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert all(entry["title"] for entry in ranked["ranking"])


def test_unknown_user_and_items_are_answered(finished_run, capsys):
    ranked = _rank(capsys, "--model", str(finished_run.model), "--user", "nobody", "--candidates", "i000001,what")
    assert {entry["item"] for entry in ranked["ranking"]} == {"i000001", "what"}
    assert ranked["history"] == []
    assert all(0 <= entry["score"] <= 1 for entry in ranked["ranking"])


def test_given_history_counts(finished_run, capsys):
    arguments = ("--model", str(finished_run.model), "--user", "nobody", "--candidates", "i000001")
    without = _rank(capsys, *arguments)["ranking"][0]["score"]
    with_history = _rank(capsys, *arguments, "--history", "i000002,i000003")["ranking"][0]["score"]
    assert with_history != without


def test_table_names_the_user_and_the_best_item(finished_run, capsys):
    model = str(finished_run.model)
    best = _rank(capsys, "--model", model, "--user", "nobody", "--top", "1")["ranking"][0]["item"]
    assert main(["rank", "--model", model, "--user", "nobody", "--top", "3"]) == 0
    printed = capsys.readouterr().out
    assert "nobody" in printed
    assert best in printed
