"""Content that a request carries, through an exported model and over the wire."""

from __future__ import annotations

import numpy as np
import pytest

from serving import contract
from serving.client import BadRequest, ClientOptions, RankingClient, RestRankingClient
from serving.export.servable import Servable
from serving.local_server.server import LocalServer
from tests.serving.export.small_models import raw_requests, small_model
from tests.serving.local_server.asking import Asker, refusal

TEXT, IMAGE = contract.CONTENT_PREFIX + "text", contract.CONTENT_PREFIX + "image"
PATIENT = ClientOptions(deadline=60.0)
USER = {"user_id": "u1", "history_item_id": ["i1", "i3", "i25"], "gender": "f", "age": 1.5}


@pytest.fixture(scope="module")
def model():
    return small_model("dmf")


@pytest.fixture(scope="module")
def base(exported_dmf):
    return exported_dmf.parent


@pytest.fixture(scope="module")
def server(base):
    with LocalServer(base, "shop", rest_port=0) as server:
        yield server


@pytest.fixture(params=["grpc", "rest"])
def client(request, server):
    if request.param == "grpc":
        with RankingClient(server.target, "shop", PATIENT) as client:
            yield client
    else:
        with RestRankingClient(server.rest_target, "shop", PATIENT) as client:
            yield client


def scores(ranking) -> np.ndarray:
    return ranking.scores_in_request_order


def test_a_new_item_with_the_content_of_another_scores_as_that(client, model):
    """i28 and "new" share the row of unknown ids; with the same content nothing tells them apart."""
    candidates = ["i28", "new", "i2"]
    assert client.metadata().content == {"image": 5, "text": 6}
    content = {name: np.zeros((3, model.content[name].dim), np.float32) for name in ("text", "image")}
    plain = scores(client.rank(USER, candidates))
    np.testing.assert_allclose(scores(client.rank(USER, candidates, content=content)), plain, atol=1e-6)
    assert abs(plain[1] - plain[0]) > 1e-3
    for name, vectors in content.items():
        vectors[1] = model.content[name](np.array([28]))[0].numpy()[0]
    carried = scores(client.rank(USER, candidates, content=content))
    assert abs(carried[1] - carried[0]) < 1e-5
    np.testing.assert_allclose(carried[[0, 2]], plain[[0, 2]], atol=1e-6)
    two_step = scores(client.score(client.encode_user(USER), candidates, content=content))
    np.testing.assert_allclose(two_step, carried, atol=1e-6)


def test_scores_are_those_of_the_model_in_this_process(client, base):
    rng = np.random.default_rng(0)
    content = {"text": rng.normal(size=(2, 6)), "image": rng.normal(size=(2, 5))}
    arrays = {name: value[:1] for name, value in raw_requests().items()}
    arrays[contract.CANDIDATE_ITEM_ID] = np.array([["i2", "new"]], object)
    arrays |= {contract.CONTENT_PREFIX + name: value[None].astype(np.float32) for name, value in content.items()}
    with Servable(base / "1", optimised=False) as servable:
        expected = servable.run(contract.RANK_WITH_CONTENT, arrays)[contract.SCORE][0]
    np.testing.assert_allclose(scores(client.rank(USER, ["i2", "new"], content=content)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("vectors", "words"),
    [(np.ones((2, 7)), "must be 6 wide"), ([[1.0] * 6, [1.0] * 5 + [np.nan]], "has NaN or infinite values.*row 1")],
    ids=["width", "nan"],
)
def test_our_client_refuses_it_before_a_call(client, vectors, words):
    with pytest.raises(BadRequest, match=words) as error:
        client.rank(USER, ["i2", "new"], content={"text": vectors})
    assert (error.value.field, error.value.code) == ("content['text']", None)


def arrays_of(signature: str, asker: Asker) -> dict[str, np.ndarray]:
    """A good request with content of both modalities."""
    user = {name: value[:1] for name, value in raw_requests().items() if name != contract.CANDIDATE_ITEM_ID}
    first = asker.predict(contract.USER_TOWER, user)[1] if signature == contract.CANDIDATE_WITH_CONTENT else user
    content = {TEXT: np.full((1, 2, 6), 0.5, np.float32), IMAGE: np.full((1, 2, 5), 0.5, np.float32)}
    return {**first, **content, contract.CANDIDATE_ITEM_ID: np.array([["i2", "new"]], object)}


@pytest.mark.parametrize("signature", [contract.RANK_WITH_CONTENT, contract.CANDIDATE_WITH_CONTENT])
@pytest.mark.parametrize("name", [TEXT, IMAGE])
@pytest.mark.parametrize("fault", ["narrow", "wide", "one vector", "flat", "nan", "infinite", "float64"])
def test_another_client_that_sends_it_is_told_the_input_and_the_server_lives_on(server, signature, name, fault):
    with Asker(server.target, "shop") as asker:
        arrays = arrays_of(signature, asker)
        good = arrays[name]
        bad = {
            "narrow": good[..., :-1],
            "wide": np.concatenate([good, good], -1),
            "one vector": good[:, :1],
            "flat": good[0],
            "nan": np.where(np.arange(good.shape[-1]) == 2, np.float32("nan"), good),
            "infinite": np.where(np.arange(good.shape[-1]) == 2, np.float32("inf"), good),
            "float64": good.astype(np.float64),
        }[fault]
        before = asker.predict(signature, arrays)[1][contract.SCORE]
        code, details = refusal(lambda: asker.predict(signature, arrays | {name: bad}))
        assert code == "INVALID_ARGUMENT"
        assert name in details
        np.testing.assert_array_equal(asker.predict(signature, arrays)[1][contract.SCORE], before)
