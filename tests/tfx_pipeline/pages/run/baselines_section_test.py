"""The model beside rankers that only count, on a page; and what stands there when there is no model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.tfx_pipeline.pages.runs import INGESTION_REPORT, run_of
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.evaluation.baselines import read_shown_items
from tfx_pipeline.evaluation.metrics import CandidateAUC, CandidateRows, RequestMRR
from tfx_pipeline.pages.kit.page import Prose, Table
from tfx_pipeline.pages.run.baselines_section import baselines_section, count_rankers
from tfx_pipeline.pages.run.scores import Scores

REPORT = ("BehaviorLogExampleGen", "report")


def examples(file: Path, requests: int, seed: int) -> bytes:
    """Requests of three items, of which the first is clicked most."""
    rng = np.random.default_rng(seed)
    with tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for number in range(requests):
            example = tf.train.Example()
            feature = example.features.feature
            feature[raw_features.USER_ID].bytes_list.value.append(f"u{number % 5}".encode())
            feature[raw_features.CANDIDATE_ITEM_ID].bytes_list.value.extend([b"a", b"b", b"c"])
            feature[raw_features.LABEL].int64_list.value.extend((rng.random(3) < [0.8, 0.4, 0.1]).astype(int))
            writer.write(example.SerializeToString())
    return file.read_bytes()


def test_the_model_stands_beside_rankers_that_only_count(tmp_path):
    train, test = (examples(tmp_path / f"{seed}.gz", requests, seed) for seed, requests in ((1, 200), (2, 60)))
    shown = read_shown_items([str(tmp_path / "2.gz")])
    predictions = np.where(shown.labels, 0.6, 0.4).astype(np.float32)
    scores = Scores(shown.labels, predictions, shown.users, shown.requests, {}, "", "")
    files = {"Split-train/data-00000-of-00001.gz": train, "Split-test/data-00000-of-00001.gz": test}
    run = run_of(tmp_path, {("BehaviorLogExampleGen", "examples"): files, REPORT: {"report.json": INGESTION_REPORT}})
    table, method = baselines_section(count_rankers(run, scores, [1, 2])).blocks
    assert isinstance(table, Table) and isinstance(method, Prose)
    model, click_rate, popularity, constant = table.rows
    assert model[1:3] == ("1.0000", "1.0000")
    assert table.columns[3:7] == ("HR@2 (0 to 1)", "NDCG@2 (0 to 1)", "MRR (0 to 1)", "AUC by request (0.5 to 1)")
    assert model[3:7] == ("1.0000",) * 4
    by_rate = CandidateRows(shown.labels, np.tile(np.array([3, 2, 1], np.float32) / 4, 60), shown.users, shown.requests)
    assert click_rate[1] == f"{CandidateAUC.compute(by_rate):.4f}"
    assert click_rate[5] == f"{RequestMRR().value(by_rate):.4f}"
    assert float(click_rate[7]) < float(constant[7])
    assert (popularity[1], popularity[7]) == ("0.5000", "–")
    assert popularity[3:7] == constant[3:7]
    assert constant[1:3] == ("0.5000", "0.5000")
    assert "600 impressions of train" in method.text


def test_without_a_model_there_is_a_sentence(tmp_path):
    rankers = count_rankers(run_of(tmp_path, {REPORT: {"report.json": INGESTION_REPORT}}), None, [5])
    (block,) = baselines_section(rankers).blocks
    assert block.text == "There is no model to compare with rankers that only count."
