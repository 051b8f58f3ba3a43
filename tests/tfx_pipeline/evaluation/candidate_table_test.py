"""Candidate rows of a split: the scores of the exported model, the slices of the Evaluator."""

from __future__ import annotations

import dataclasses
from collections import Counter

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from serving import contract
from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation.candidate_table import CandidateTable, score_rows
from tfx_pipeline.evaluation.item_facts import read_item_facts
from tfx_pipeline.evaluation.known_users import KnownUsers, read_known_users
from tfx_pipeline.evaluation.metrics import GAUC


@pytest.fixture(scope="module")
def table(trained, tiny_data) -> CandidateTable:
    model = keras.models.load_model(trained / "run" / "model.keras")
    return score_rows(model, tiny_data.training_data.transform, tiny_data.examples["eval"], tiny_data.facts)


@pytest.fixture(scope="module")
def requests(tiny_data) -> list[dict[str, list]]:
    """The raw requests of the split, feature by feature."""
    records = tf.data.TFRecordDataset(tiny_data.examples["eval"], "GZIP").as_numpy_iterator()
    found = []
    for record in records:
        feature = tf.train.Example.FromString(record).features.feature
        found.append({"serialized": record} | {name: list(feature[name].bytes_list.value) for name in feature})
        found[-1][raw_features.LABEL] = list(feature[raw_features.LABEL].int64_list.value)
    return found


def test_scores_are_those_of_the_exported_model(table, requests, trained):
    from serving.export.servable import Servable

    serialized = np.array([request["serialized"] for request in requests], object)
    with Servable(trained / "Format-Serving", optimised=False) as servable:
        scores = servable.run(contract.SERVING_DEFAULT, {"examples": serialized})[contract.SCORE]
    expected = [row[: len(request[raw_features.LABEL])] for row, request in zip(scores, requests, strict=True)]
    np.testing.assert_allclose(table.probabilities, np.concatenate(expected), atol=1e-6)
    assert table.probabilities.dtype == np.float32


def test_columns_are_those_of_the_requests(table, requests, trained):
    facts = read_item_facts(trained / "Format-Serving")
    known = dict(zip(facts.item_ids, zip(facts.train_impressions, facts.has_content, strict=True), strict=True))
    rows = [
        {
            "label": label,
            "user": request[raw_features.USER_ID][0],
            "history": len(request.get(raw_features.HISTORY_ITEM_ID, [])),
            "impressions": known[item][0],
            "content": known[item][1],
        }
        for request in requests
        for item, label in zip(request[raw_features.CANDIDATE_ITEM_ID], request[raw_features.LABEL], strict=True)
    ]
    expected = pd.DataFrame(rows)
    np.testing.assert_array_equal(table.labels, expected["label"].astype(bool))
    np.testing.assert_array_equal(table.history_lengths, expected["history"])
    np.testing.assert_array_equal(table.train_impressions, expected["impressions"])
    np.testing.assert_array_equal(table.has_content, expected["content"])
    # As the Evaluator makes them of user ids.
    np.testing.assert_array_equal(table.users, pd.util.hash_array(expected["user"].to_numpy()))
    assert (table.train_impressions == 0).any() and not table.has_content.all() and (table.history_lengths == 0).any()


def test_slices_follow_the_borders_that_are_given(table):
    counts = table.slices(Evaluation(rare_below=2, head_from=3), None)["item_frequency"].value_counts()
    assert counts["head"] == (table.train_impressions >= 3).sum()
    assert counts["cold"] == (table.train_impressions == 0).sum()
    histories = table.slices(Evaluation(history_edges=[2]), None)["history_length"]
    assert list(histories.categories) == ["empty", "1", "2+"]
    assert list(table.slices(Evaluation(), None)["content"][:3]) == [
        "with" if c else "without" for c in table.has_content[:3]
    ]


def test_users_of_train_are_told_from_new_ones(table):
    known = KnownUsers(np.unique(table.users)[::2])
    users = table.slices(Evaluation(), known)["user"]
    assert list(users) == ["known" if user in known.hashes else "new" for user in table.users]
    assert "user" not in table.slices(Evaluation(), None)


def test_the_trainer_leaves_the_users_of_train_beside_the_model(tiny_data, trained):
    records = tf.data.TFRecordDataset(tiny_data.examples["train"], "GZIP").as_numpy_iterator()
    features = [tf.train.Example.FromString(record).features.feature for record in records]
    requests = Counter(feature[raw_features.USER_ID].bytes_list.value[0] for feature in features)
    # `min_count` of the tiny world is 2.
    expected = KnownUsers.of([user for user, count in requests.items() if count >= 2])
    for known in (read_known_users(trained / "Format-Serving"), tiny_data.known_users):
        np.testing.assert_array_equal(known.hashes, expected.hashes)


def test_a_part_of_the_rows(table):
    rows = table.rows(table.has_content)
    assert len(rows.labels) == table.has_content.sum()
    assert np.isfinite(GAUC.compute(rows))
    assert len(table.rows().labels) == len(table.labels)


def test_is_read_as_it_was_written(table, tmp_path):
    table.save(tmp_path / "rows.npz")
    again = CandidateTable.load(tmp_path / "rows.npz")
    for field in dataclasses.fields(table):
        ours, theirs = getattr(table, field.name), getattr(again, field.name)
        if field.name == "further":
            assert ours == theirs == {}
            continue
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.npz"]


def test_refusals(trained, tiny_data, tmp_path):
    model = keras.models.load_model(trained / "run" / "model.keras")
    transform, facts = tiny_data.training_data.transform, tiny_data.facts
    empty, broken = tmp_path / "empty.gz", tmp_path / "broken.gz"
    tf.io.TFRecordWriter(str(empty), "GZIP").close()
    with pytest.raises(DataError, match="no candidates to score: the split is empty"):
        score_rows(model, transform, [str(empty)], facts)
    (record,) = tf.data.TFRecordDataset(tiny_data.examples["eval"], "GZIP").take(1).as_numpy_iterator()
    example = tf.train.Example.FromString(record)
    example.features.feature[raw_features.LABEL].int64_list.value.append(1)
    with tf.io.TFRecordWriter(str(broken), "GZIP") as writer:
        writer.write(example.SerializeToString())
    with pytest.raises(DataError, match=r"has \d candidates but \d labels; expected one label per candidate"):
        score_rows(model, transform, [str(broken)], facts)
