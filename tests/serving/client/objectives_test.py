"""Models of several objectives: a score that is a formula, and the probabilities beside it."""

from __future__ import annotations

import numpy as np
import pytest

from serving.client import BadRequest, ClientOptions, InvalidAnswer
from serving.client.errors import RankingError
from serving.testing import FakeRankingServer, FakeRequest, hash_scorer
from tests.serving.client.servers import CLIENTS, FEATURES, MODEL, PATIENT, USER, items


def _scorer(request: FakeRequest) -> dict[str, list[float]]:
    click = np.array(hash_scorer(request))
    return {"score": (5 * click - 2).tolist(), "score/click": click.tolist(), "score/buy": (1 - click).tolist()}


@pytest.fixture
def fake():
    with FakeRankingServer(MODEL, features=FEATURES, scorer=_scorer, objectives=("click", "buy")) as server:
        yield server


def _connect(kind, fake, options=PATIENT):
    return CLIENTS[kind](fake.rest_target if kind == "rest" else fake.target, MODEL, options)


@pytest.fixture
def client(fake, kind):
    with _connect(kind, fake) as client:
        yield client


def test_scores_of_a_formula_may_lie_outside_0_to_1(client):
    assert client.metadata().objectives == ("buy", "click")
    ranking = client.rank(USER, items(30))
    assert ranking.scores.min() < 0 and ranking.scores.max() > 1
    assert ranking.objectives == {}


@pytest.mark.parametrize("page", [1200, 7])
def test_objectives_are_in_the_order_of_the_items(fake, kind, page):
    options = ClientOptions(max_candidates_per_call=page, deadline=30.0)
    with _connect(kind, fake, options) as client:
        ranking = client.rank(USER, items(20), objectives=True)
        kept = client.score(client.encode_user(USER), items(20), objectives=True)
    assert set(ranking.objectives) == {"click", "buy"}
    np.testing.assert_allclose(ranking.scores, 5 * ranking.objectives["click"] - 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ranking.objectives["buy"], 1 - ranking.objectives["click"], atol=1e-6)
    assert ranking.scores.tolist() == sorted(ranking.scores.tolist(), reverse=True)
    for name in ("click", "buy"):
        np.testing.assert_array_equal(kept.objectives[name], ranking.objectives[name])
        with pytest.raises(ValueError, match="read-only"):
            ranking.objectives[name][0] = 0


def test_padding_of_a_batching_server_is_cut_off_every_output(fake, client):
    fake.pad_answers(3)
    assert len(client.rank(USER, items(4), objectives=True).objectives["buy"]) == 4


def test_a_model_of_one_objective_has_none_to_give(kind):
    with FakeRankingServer(MODEL, features=FEATURES) as fake, _connect(kind, fake) as client:
        assert client.metadata().objectives == ()
        for ask in (
            lambda: client.rank(USER, items(2), objectives=True),
            lambda: client.score(client.encode_user(USER), items(2), objectives=True),
        ):
            with pytest.raises(BadRequest, match="has no objectives beside its score") as caught:
                ask()
            assert caught.value.field == "objectives"
        assert len(client.rank(USER, items(2))) == 2


@pytest.mark.parametrize(
    ("output", "value", "message"),
    [
        ("score", float("nan"), "not finite"),
        ("score/buy", 1.5, r"outside \[0, 1\]"),
        ("score/click", -0.1, r"outside \[0, 1\]"),
    ],
)
def test_what_is_no_score_is_refused(kind, output, value, message):
    def scorer(request):
        return {**_scorer(request), output: [value] * len(request.candidates)}

    options = {"features": FEATURES, "scorer": scorer, "objectives": ("click", "buy")}
    with (
        FakeRankingServer(MODEL, **options) as fake,
        _connect(kind, fake) as client,
        pytest.raises(InvalidAnswer, match=message),
    ):
        client.rank(USER, items(2), objectives=True)


def test_a_scorer_that_gives_other_outputs_fails(kind):
    with (
        FakeRankingServer(MODEL, features=FEATURES, scorer=lambda r: {"score": [0.5]}, objectives=("click",)) as fake,
        _connect(kind, fake) as client,
        pytest.raises(RankingError, match=r"the scorer gave \['score'\]"),
    ):
        client.rank(USER, items(1))
