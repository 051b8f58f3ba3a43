"""Answers that are another model's or version's than asked, or lack a part: no ranking is made of them."""

from __future__ import annotations

import threading

import pytest

from serving.client import BadRequest, ClientOptions, InvalidAnswer, RestRankingClient
from serving.testing import FakeRankingServer
from tests.serving.client.servers import CLIENTS, FEATURES, MODEL, PATIENT, USER, items

SMALL_PAGES = ClientOptions(deadline=30.0, max_candidates_per_call=7)


@pytest.fixture
def fake():
    with FakeRankingServer(MODEL, features=FEATURES) as server:
        yield server


@pytest.fixture
def grpc_kind(kind):
    if kind == "rest":
        pytest.skip("REST's answers to a prediction name neither model nor version")
    return kind


def alter(monkeypatch, fake, method, change):
    """From now on the answers of a method of the fake's model are changed on their way."""
    answer = getattr(fake._model, method)

    def altered(request):
        response = answer(request)
        change(request, response)
        return response

    monkeypatch.setattr(fake._model, method, altered)


def of_version(number):
    def change(request, response):
        response.model_spec.version.value = number

    return change


def of_model(name):
    def change(request, response):
        response.model_spec.name = name

    return change


def test_a_ranking_of_another_version_than_asked_is_refused(monkeypatch, fake, grpc_kind):
    alter(monkeypatch, fake, "predict", of_version(9))
    with CLIENTS[grpc_kind](fake.target, MODEL, PATIENT) as client:
        for call in (lambda: client.rank(USER, items(3), version=1), lambda: client.encode_user(USER, version=1)):
            with pytest.raises(InvalidAnswer, match=r"names version 9 of model 'conformance', asked was version 1"):
                call()
        # Who asks for the newest gets whichever that is.
        assert client.rank(USER, items(3)).model_version == 9


@pytest.mark.parametrize("count", [3, 30])
def test_scores_of_another_version_than_the_states_are_refused(monkeypatch, fake, grpc_kind, count):
    with CLIENTS[grpc_kind](fake.target, MODEL, SMALL_PAGES) as client:
        state = client.encode_user(USER)
        alter(monkeypatch, fake, "predict", of_version(2))
        with pytest.raises(InvalidAnswer, match=r"names version 2 of .*, asked was version 1"):
            client.score(state, items(count))


def test_pages_of_one_ranking_are_of_one_version(monkeypatch, fake, grpc_kind):
    lock, pages = threading.Lock(), []

    def one_page_in_three(request, response):
        with lock:
            pages.append(request.model_spec.signature_name)
            if len(pages) % 3 == 0:
                response.model_spec.version.value = 2

    with CLIENTS[grpc_kind](fake.target, MODEL, SMALL_PAGES) as client:
        alter(monkeypatch, fake, "predict", one_page_in_three)
        with pytest.raises(InvalidAnswer, match=r"names version 2 of .*, asked was version 1"):
            client.rank(USER, items(30))
    assert pages.count("candidate") > 1


def test_an_answer_that_names_no_version_is_refused(monkeypatch, fake, grpc_kind):
    with CLIENTS[grpc_kind](fake.target, MODEL, PATIENT) as client:
        state = client.encode_user(USER)
        alter(monkeypatch, fake, "predict", lambda request, response: response.model_spec.ClearField("version"))
        with pytest.raises(InvalidAnswer, match=r"names no version of .*, asked was version 1"):
            client.score(state, items(3))
        with pytest.raises(InvalidAnswer, match="names no version"):
            client.rank(USER, items(3))


@pytest.mark.parametrize("name", ["other", ""])
def test_an_answer_of_another_model_is_refused(monkeypatch, fake, grpc_kind, name):
    with CLIENTS[grpc_kind](fake.target, MODEL, PATIENT) as client:
        client.metadata()
        alter(monkeypatch, fake, "predict", of_model(name))
        with pytest.raises(InvalidAnswer, match=f"the answer is of model '{name}', asked was model 'conformance'"):
            client.rank(USER, items(3))


def test_metadata_of_another_model_or_version_is_refused(monkeypatch, fake, kind):
    target = fake.rest_target if kind == "rest" else fake.target
    with CLIENTS[kind](target, MODEL, PATIENT) as client:
        alter(monkeypatch, fake, "metadata", of_version(7))
        with pytest.raises(InvalidAnswer, match=r"names version 7 of .*, asked was version 1"):
            client.rank(USER, items(3), version=1)
        alter(monkeypatch, fake, "metadata", of_model("other"))
        with pytest.raises(InvalidAnswer, match="is of model 'other'"):
            client.rank(USER, items(3))


def test_a_refused_answer_is_counted_as_an_error(monkeypatch, fake, grpc_kind):
    records = []
    alter(monkeypatch, fake, "predict", of_version(9))
    with (
        CLIENTS[grpc_kind](fake.target, MODEL, ClientOptions(deadline=30.0, on_call=records.append)) as client,
        pytest.raises(InvalidAnswer),
    ):
        client.rank(USER, items(3), version=1)
    assert (records[-1].signature, records[-1].version, records[-1].code) == ("rank", 1, "INTERNAL")


def test_a_state_that_lacks_a_part_is_refused(monkeypatch, fake, grpc_kind):
    alter(monkeypatch, fake, "predict", lambda request, response: response.outputs.pop("keys"))
    with (
        CLIENTS[grpc_kind](fake.target, MODEL, PATIENT) as client,
        pytest.raises(InvalidAnswer, match=r"the answer lacks \['keys'\] of the user's state"),
    ):
        client.encode_user(USER)


def test_what_nobody_asked_for_is_no_part_of_a_state(monkeypatch, fake, grpc_kind):
    def add(request, response):
        response.outputs["more"].CopyFrom(next(iter(response.outputs.values())))

    with CLIENTS[grpc_kind](fake.target, MODEL, PATIENT) as client:
        expected = client.rank(USER, items(3)).scores_in_request_order.tolist()
        alter(monkeypatch, fake, "predict", add)
        state = client.encode_user(USER)
        assert "more" not in state.tensors
        assert client.score(state, items(3)).scores_in_request_order.tolist() == expected


@pytest.mark.parametrize("scores", [[1.5, 0.5], [-0.25, 0.5], [0.5, 1e30]])
def test_scores_that_are_no_probabilities_are_no_ranking(fake, kind, scores):
    fake.add_version(2, lambda request: scores)
    target = fake.rest_target if kind == "rest" else fake.target
    with (
        CLIENTS[kind](target, MODEL, PATIENT) as client,
        pytest.raises(InvalidAnswer, match=r"1 of 2 scores are outside \[0, 1\], the first is that of candidate"),
    ):
        client.rank(USER, items(2), version=2)


def test_a_state_that_json_cannot_carry_is_named(fake):
    with CLIENTS["grpc"](fake.target, MODEL, PATIENT) as client:
        state = client.encode_user(USER)
    state.tensors["keys"].dtype = "DT_BFLOAT16"
    with RestRankingClient(fake.rest_target, MODEL, PATIENT) as client:
        with pytest.raises(BadRequest, match="input 'keys' cannot be sent as JSON: tensors of bfloat16") as error:
            client.score(state, items(3))
        assert error.value.field == "keys"
