"""The sum of both scores that orders a page."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serving.page_order import NEAREST, page_scores


def test_is_the_logit_of_the_ranker_and_the_weighted_score_of_retrieval():
    scores, of_retrieval = np.array([[0.5, 0.1, 0.9]], np.float32), np.array([[2.0, -1.0, 0.25]], np.float32)
    expected = [math.log(p / (1 - p)) + 3 * dot for p, dot in zip([0.5, 0.1, 0.9], [2.0, -1.0, 0.25], strict=True)]
    found = page_scores(scores, of_retrieval, 3.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    assert page_scores(np.array([], np.float32), np.array([], np.float32), 3.0).shape == (0,)


@pytest.mark.parametrize("sure", [0.0, 1.0])
def test_a_ranker_that_is_sure_leaves_the_order_to_retrieval(sure):
    scores = np.full(3, sure, np.float32)
    found = page_scores(scores, np.array([1.0, 3.0, 2.0], np.float32), 1.0)
    limit = math.log(NEAREST / (1 - NEAREST)) * (1 if sure == 0 else -1)
    np.testing.assert_allclose(found, [limit + 1, limit + 3, limit + 2], rtol=1e-2)
    assert np.argsort(-found).tolist() == [1, 2, 0]


def test_without_weight_the_order_is_that_of_the_ranker():
    scores = np.random.default_rng(1).uniform(size=200).astype(np.float32)
    found = page_scores(scores, np.random.default_rng(2).normal(size=200).astype(np.float32), 0.0)
    np.testing.assert_array_equal(np.argsort(found), np.argsort(scores))
