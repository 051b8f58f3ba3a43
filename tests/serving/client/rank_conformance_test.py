"""What a ranking is, on every server with every client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.client import BadRequest, ClientOptions, ModelNotFound, User, UserState, VersionNotFound
from serving.client.text import shown
from tests.serving.client.servers import MODEL, PATIENT, USER, connect, items

# Half an emoji, as JavaScript's substring leaves it.
HALF = "\ud83d"
SMALL_PAGES = ClientOptions(deadline=30.0, max_candidates_per_call=7)


def test_a_ranking_is_sorted_and_names_its_version(client):
    ranking = client.rank(USER, items(20))
    assert ranking.model_version == 1
    assert sorted(ranking.items) == sorted(items(20))
    assert list(ranking.scores) == sorted(ranking.scores, reverse=True)
    assert ((ranking.scores >= 0) & (ranking.scores <= 1)).all()
    assert len(set(ranking.scores)) > 10


def test_a_user_object_is_the_mapping(client):
    user = User("u1", ["i3", "i1", "i2"], {"gender": "f", "age": 34})
    assert list(client.rank(user, items(5))) == list(client.rank(USER, items(5)))


@pytest.mark.parametrize(
    "other",
    [
        {"user_id": ""},
        {"history_item_id": []},
        {"history_item_id": ["i3"]},
        {"gender": None},
        {"age": None},
        {"age": 7},
    ],
    ids=str,
)
def test_every_input_reaches_the_model(client, other):
    ranking, different = (client.rank(user, items(5)).scores_in_request_order for user in (USER, USER | other))
    assert not np.allclose(ranking, different, atol=1e-4)


def test_padding_in_a_history_changes_nothing(client):
    padded = USER | {"history_item_id": ["", "i3", "", "i1", "i2", ""]}
    expected = client.rank(USER, items(5)).scores_in_request_order
    np.testing.assert_allclose(client.rank(padded, items(5)).scores_in_request_order, expected, atol=1e-6)


@pytest.mark.parametrize("count", [1, 20])
def test_encoding_and_scoring_is_ranking(client, count):
    ranking, state = client.rank(USER, items(count)), client.encode_user(USER)
    assert (state.model, state.version) == (MODEL, 1)
    scored = client.score(state, items(count))
    assert (scored.model_version, scored.state) == (1, state)
    np.testing.assert_allclose(scored.scores_in_request_order, ranking.scores_in_request_order, atol=1e-6)


def test_a_state_survives_as_bytes_and_serves_another_client(server, client):
    expected = client.rank(USER, items(6)).scores_in_request_order
    kept = client.encode_user(USER).to_bytes()
    for kind in ("grpc", "asyncio"):
        with connect(kind, server) as other:
            scored = other.score(UserState.from_bytes(kept), items(6))
        np.testing.assert_allclose(scored.scores_in_request_order, expected, atol=1e-6)


def test_a_split_list_is_merged_as_one_call_would_answer(server, kind, client):
    candidates = [*items(40), "i3", "i3"]
    whole, state = client.rank(USER, candidates), client.encode_user(USER)
    with connect(kind, server, SMALL_PAGES) as splitting:
        for ranking in (splitting.rank(USER, candidates), splitting.score(state, candidates)):
            np.testing.assert_allclose(ranking.scores, whole.scores, atol=1e-6)
            np.testing.assert_allclose(ranking.scores_in_request_order, whole.scores_in_request_order, atol=1e-6)
            assert ranking.items == whole.items
            assert ranking.model_version == 1


def test_requests_at_once_get_their_own_scores(server, kind):
    """Where the server batches them, each is padded to the longest, and cut back to its own length."""
    requests = [(USER | {"history_item_id": items(1 + n % 5)}, items(1 + n % 7)) for n in range(40)]
    with connect(kind, server) as client, ThreadPoolExecutor(8) as pool:
        alone = [client.rank(user, candidates).scores_in_request_order for user, candidates in requests]
        together = list(pool.map(lambda request: client.rank(*request).scores_in_request_order, requests))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_no_candidates_give_an_empty_ranking_without_a_call(server, client):
    state = client.encode_user(USER)
    server.kill()
    assert list(client.rank(USER, [])) == []
    assert list(client.score(state, [])) == []


def test_a_long_history_counts_by_its_most_recent_items(server, kind):
    with connect(kind, server, ClientOptions(deadline=30.0, max_history=2)) as client:
        cut = client.rank(USER, items(5)).scores_in_request_order
    with connect(kind, server) as client:
        recent = client.rank(USER | {"history_item_id": ["i1", "i2"]}, items(5)).scores_in_request_order
    np.testing.assert_allclose(cut, recent, atol=1e-6)


def test_text_beyond_ascii_arrives(client):
    user = USER | {"user_id": "ü\u4e2d\U0001f600", "history_item_id": ['é"\\\n']}
    candidates = ["a b", "ß", "\U0001f600", '"', "\\"]
    ranking, state = client.rank(user, candidates), client.encode_user(user)
    assert set(ranking.items) == set(candidates)
    scored = client.score(state, candidates)
    np.testing.assert_allclose(scored.scores_in_request_order, ranking.scores_in_request_order, atol=1e-6)


def test_what_the_caller_omits_is_missing_when_it_says_so(server, kind):
    bare = {"user_id": "", "history_item_id": [], "gender": None, "age": None}
    with connect(kind, server, ClientOptions(deadline=30.0, fill_missing=True)) as client:
        assert list(client.rank({}, items(5))) == list(client.rank(bare, items(5)))


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"gendr": "f"}, "gendr", r"unknown feature 'gendr' \(did you mean 'gender'\?\)"),
        ({"gender": 3}, "gender", "feature 'gender' must be a string or None, got int 3"),
        ({"age": "old"}, "age", "feature 'age' must be a number or None, got str 'old'"),
        ({"age": True}, "age", "must be a number or None, got bool"),
        ({"age": float("inf")}, "age", "cannot be inf"),
        ({"user_id": 17}, "user_id", "user_id must be a string, got int 17"),
        ({"history_item_id": "i1"}, "history_item_id", "must be a list of item ids, got str 'i1'"),
        ({"history_item_id": ["i1", 2]}, "history_item_id", r"history_item_id\[1\] must be a string"),
        ({"age": 1e300}, "age", r"feature 'age' \(float32\) cannot be 1e\+300; expected a finite number in its range"),
        ({"age": 10**400}, "age", r"feature 'age' \(float32\) cannot be 1000"),
        ({"age": 10**5000}, "age", r"feature 'age' \(float32\) cannot be too long to show"),
        ({"user_id": f"u{HALF}"}, "user_id", r"user_id is no text: 'u\\ud83d' has half of a surrogate pair"),
        ({"gender": f"{HALF}f"}, "gender", r"feature 'gender' is no text: '\\ud83df' has half"),
        ({"history_item_id": ["i1", HALF]}, "history_item_id", r"history_item_id\[1\] is no text: '\\ud83d' has half"),
    ],
    ids=shown,
)
@pytest.mark.filterwarnings("error:overflow")
def test_a_wrong_field_is_named(client, change, field, message):
    for call in (lambda user: client.rank(user, items(3)), client.encode_user):
        with pytest.raises(BadRequest, match=message) as error:
            call(USER | change)
        assert (error.value.field, error.value.code) == (field, None)


@pytest.mark.parametrize("field", sorted(USER))
def test_a_missing_field_is_named(client, field):
    user = {name: value for name, value in USER.items() if name != field}
    with pytest.raises(BadRequest, match=f"'{field}'.*fill_missing") as error:
        client.rank(user, items(3))
    assert error.value.field == field


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ("i1", "candidates must be a list of item ids, got str"),
        (["i1", ""], r"candidates\[1\] is an empty string"),
        (["i1", None], r"candidates\[1\] must be a string"),
        (np.array([1, 2]), r"candidates\[0\] must be a string, as item ids are, got int 1"),
        ([1, 10**5000], r"candidates\[0\] must be a string, as item ids are, got int 1"),
        (["i1", f"i{HALF}", "i2"], r"candidates\[1\] is no text: 'i\\ud83d' has half of a surrogate pair"),
        (["\ud83d", "\ude00"], r"candidates\[0\] is no text"),
    ],
    ids=shown,
)
def test_wrong_candidates_are_named(client, candidates, message):
    with pytest.raises(BadRequest, match=message) as error:
        client.rank(USER, candidates)
    assert error.value.field == "candidates"


@pytest.mark.parametrize(
    ("choice", "field", "message"),
    [
        ({"version": 2**63}, "version", "version must be from 0 to 9223372036854775807, got 9223372036854775808"),
        ({"version": -1}, "version", "got -1"),
        ({"version": 10**5000}, "version", "got too long to show"),
        ({"label": HALF}, "label", "label is no text"),
        ({"deadline": 10**400}, "deadline", "deadline must be a positive, finite number"),
        ({"deadline": 1e300}, "deadline", "deadline must be .*at most"),
    ],
    ids=shown,
)
def test_a_wrong_choice_is_named(client, choice, field, message):
    for call in (lambda: client.rank(USER, items(2), **choice), lambda: client.encode_user(USER, **choice)):
        with pytest.raises(BadRequest, match=message) as error:
            call()
        assert error.value.field == field


def test_content_for_a_model_that_takes_none_is_refused(client):
    with pytest.raises(BadRequest, match="takes no content 'text' with a request; it takes none"):
        client.rank(USER, items(2), content={"text": np.ones((2, 4))})


def test_an_unknown_model_is_named(server, kind):
    with connect(kind, server, PATIENT, model="nobody") as client:
        for call in (lambda: client.rank(USER, items(2)), client.model_status, client.metadata):
            with pytest.raises(ModelNotFound, match="has no model 'nobody'") as error:
                call()
            assert error.value.code == "NOT_FOUND"


def test_an_unknown_version_or_label_is_named_with_those_that_exist(client):
    for choice, words in (({"version": 9}, "version 9"), ({"label": "canary"}, "label 'canary'")):
        for call in (lambda **c: client.rank(USER, items(2), **c), lambda **c: client.encode_user(USER, **c)):
            with pytest.raises(VersionNotFound, match=f"{words} of model.*1 AVAILABLE") as error:
                call(**choice)
            assert error.value.available == (1,)


def test_the_server_says_what_it_has(client):
    status, metadata = client.model_status(), client.metadata()
    assert (status.model, status.available) == (MODEL, (1,))
    assert (metadata.version, metadata.features, metadata.content) == (1, {"age": "float32", "gender": "string"}, {})
    assert {"rank", "user_tower", "candidate"} <= set(metadata.signatures)
    assert metadata.signatures["rank"].outputs["score"].dtype == "float32"
