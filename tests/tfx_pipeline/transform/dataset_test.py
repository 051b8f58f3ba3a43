"""Batches of training: which candidates an epoch sees."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, CANDIDATE_INDEX, HISTORY_INDEX, USER_INDEX
from tfx_pipeline.transform import transformed_features
from tfx_pipeline.transform.dataset import Share, real_slots, request_batches

Shown = tuple[int, int, int]


@pytest.fixture
def batches(tiny_data) -> Any:
    """batches(**options): the train split, seven requests a batch."""
    data = tiny_data.training_data

    def make(**options: Any) -> Any:
        requests = data.requests["train"]
        return request_batches(data.files["train"], data.tft_output, data.transform, 7, requests=requests, **options)

    return make


def _shown(dataset: Any) -> Counter[Shown]:
    """(user, content row, label) of every candidate; what stands beside it is checked on the way."""
    found: Counter[Shown] = Counter()
    for inputs, labels, weights in dataset:
        if not len(labels):
            # Another share of the batch has all its requests.
            continue
        real = inputs[CANDIDATE_INDEX].numpy() != 0
        np.testing.assert_array_equal(weights.numpy(), real.astype(np.float32))
        # Filled from the left, and as wide as the longest.
        assert (np.diff(real.astype(int), axis=1) <= 0).all()
        assert real.shape[1] == max(1, real.sum(axis=1).max(initial=0))
        assert len(inputs[HISTORY_INDEX]) == len(inputs[USER_INDEX]) == len(real) <= 7
        users = np.broadcast_to(inputs[USER_INDEX].numpy()[:, None], real.shape)[real]
        rows = inputs[CANDIDATE_CONTENT_ROW].numpy()[real]
        found.update(zip(users.tolist(), rows.tolist(), labels.numpy()[real].astype(int).tolist(), strict=True))
    return found


def test_all_positives_and_a_share_of_the_negatives(batches) -> None:
    everything = _shown(batches())
    some = _shown(batches(keep_negatives=0.4))
    positives = {shown: count for shown, count in everything.items() if shown[2]}
    assert {shown: count for shown, count in some.items() if shown[2]} == positives
    assert not some - everything
    negatives = everything.total() - sum(positives.values())
    kept = some.total() - sum(positives.values())
    spread = np.sqrt(negatives * 0.4 * 0.6)
    assert abs(kept - 0.4 * negatives) < 5 * spread
    assert 0 < kept < negatives


def test_requests_without_a_candidate_are_left_out(batches) -> None:
    requests = [len(inputs[USER_INDEX]) for inputs, _, _ in batches(keep_negatives=1e-9)]
    with_positive = sum(int((labels.numpy() * weights.numpy()).any(axis=1).sum()) for _, labels, weights in batches())
    assert sum(requests) == with_positive < sum(len(inputs[USER_INDEX]) for inputs, _, _ in batches())


def test_draws_differ_between_epochs_and_are_the_same_in_every_run(batches) -> None:
    dataset, again = (batches(keep_negatives=0.4, seed=3, shuffle_buffer=100) for _ in range(2))
    epochs = [_shown(dataset) for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert epochs == [_shown(again) for _ in range(2)]
    assert _shown(batches(keep_negatives=0.4, seed=4)) not in epochs


def test_histories_stay_with_their_requests(batches) -> None:
    def histories(dataset: Any) -> set[tuple[int, ...]]:
        found = set()
        for inputs, _, _ in dataset:
            for user, history in zip(inputs[USER_INDEX].numpy(), inputs[HISTORY_INDEX].numpy(), strict=True):
                found.add((int(user), *history[history != 0].tolist()))
        return found

    assert histories(batches(keep_negatives=0.3)) <= histories(batches())


@pytest.mark.parametrize("options", [{}, {"keep_negatives": 0.4}])
def test_long_requests_are_several_of_the_same_candidates(batches, options) -> None:
    def rows(dataset: Any) -> Counter[tuple[tuple[int, ...], Shown]]:
        """Each candidate with the history of its row, the user and the label."""
        found: Counter[tuple[tuple[int, ...], Shown]] = Counter()
        for inputs, labels, weights in dataset:
            for row in range(len(inputs[USER_INDEX])):
                history = tuple(inputs[HISTORY_INDEX].numpy()[row].tolist())
                content = inputs[CANDIDATE_CONTENT_ROW].numpy()[row]
                real = inputs[CANDIDATE_INDEX].numpy()[row] != 0
                assert (weights.numpy()[row] == real).all()
                for item, label in zip(content[real], labels.numpy()[row][real], strict=True):
                    kept = tuple(index for index in history if index)
                    found[kept, (int(inputs[USER_INDEX][row]), int(item), int(label))] += 1
        return found

    # Each made anew: an epoch that follows has other draws.
    whole = rows(batches(**options))
    assert rows(batches(max_candidates=2, **options)) == whole
    assert rows(batches(max_candidates=1, **options)) == whole
    assert all(inputs[CANDIDATE_INDEX].shape[1] <= 2 for inputs, _, _ in batches(max_candidates=2, **options))
    assert 0 < real_slots(batches(**options)) < real_slots(batches(max_candidates=2, **options)) < 1
    assert real_slots(batches(max_candidates=1, **options)) == 1
    # Enough for all: nothing changes.
    for (found, *_), (expected, *_) in zip(batches(max_candidates=9, **options), batches(**options), strict=True):
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("count", [1, 2])
def test_shares_of_a_batch_are_disjoint_and_complete(batches, count) -> None:
    options = {"shuffle_buffer": 50, "seed": 3}
    whole = list(batches(**options))
    shares = [list(batches(share=Share(first, count, 4), **options)) for first in range(0, 4, count)]
    assert {len(share) for share in shares} == {count * len(whole)}
    # 400 requests in batches of seven: the last has one, of which three parts have nothing.
    assert len(whole[-1][1]) == 1
    for number, batch in enumerate(whole):
        parts = [part for share in shares for part in share[number * count : (number + 1) * count]]
        assert [len(labels) for _, labels, _ in parts] == [len(batch[1][place::4]) for place in range(4)]
        assert sum((_shown([part]) for part in parts), Counter()) == _shown([batch])


def test_shares_draw_negatives_of_their_own(batches) -> None:
    options = {"seed": 3, "keep_negatives": 0.4}
    shares = [_shown(batches(share=Share(first, 1, 2), **options)) for first in range(2)]
    kept, everything = sum(shares, Counter()), _shown(batches())
    assert all(not share - everything for share in shares)

    def count(found: Counter[Shown], positive: bool) -> int:
        return sum(number for (*_, label), number in found.items() if label == positive)

    assert count(kept, True) == count(everything, True)
    assert 0.3 < count(kept, False) / count(everything, False) < 0.5


def test_weights_of_the_log_stay_with_their_candidates_where_they_are_asked_for(tiny_data, tmp_path) -> None:
    """Weights that say the candidate: they must meet it whatever is left out, and padding has none."""
    data = tiny_data.training_data
    spec = data.tft_output.transformed_feature_spec()
    file = str(tmp_path / "data.gz")
    with tf.io.TFRecordWriter(file, tf.io.TFRecordOptions("GZIP")) as writer:
        for record in tf.data.TFRecordDataset(data.files["train"], "GZIP").as_numpy_iterator():
            example = tf.train.Example.FromString(record)
            feature = example.features.feature
            index = np.array(feature[transformed_features.CANDIDATE_INDEX].int64_list.value)
            feature[transformed_features.WEIGHT].float_list.value.extend(index + 0.5)
            writer.write(example.SerializeToString())
    weighted = SimpleNamespace(
        transformed_feature_spec=lambda: {**spec, transformed_features.WEIGHT: tf.io.VarLenFeature(tf.float32)}
    )
    requests = data.requests["train"]
    for options in ({}, {"keep_negatives": 0.4}):
        batches = request_batches([file], weighted, data.transform, 7, requests=requests, weighted=True, **options)
        for inputs, _, weights in batches:
            index = inputs[CANDIDATE_INDEX].numpy()
            # The model's index is another for items that the catalogue lacks.
            known = (index > 0) & (inputs[CANDIDATE_CONTENT_ROW].numpy() > 0)
            np.testing.assert_array_equal(weights.numpy()[known], index[known] + 0.5)
            assert (weights.numpy()[index == 0] == 0).all() and (weights.numpy()[index > 0] > 0).all()
    plain = request_batches([file], weighted, data.transform, 7, requests=requests)
    assert {weight for _, _, weights in plain for weight in weights.numpy().ravel().tolist()} == {0.0, 1.0}
