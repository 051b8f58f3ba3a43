"""A user state as bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.client import BadRequest, InvalidState, RankingClient, User, UserState
from serving.client.tensors import number_tensor, string_tensor
from serving.protos.tensor_pb2 import TensorProto
from serving.testing import FakeRankingServer

TENSORS = {
    "keys": number_tensor(np.arange(12.0).reshape(1, 3, 4), "float32"),
    "mask": number_tensor([[False, True, True]], "bool"),
    "name": string_tensor(["ü"], (1,)),
    # A dtype that the client cannot read passes through untouched.
    "half": TensorProto(dtype="DT_BFLOAT16", tensor_shape={"dim": [{"size": 1}]}, tensor_content=b"ab"),
}
STATE = UserState("demo", 7, TENSORS, User("u1", ["i1", ""], {"gender": "f", "age": 34.5, "city": None}), "canary")
FEATURES = st.dictionaries(st.text(), st.none() | st.text() | st.floats(allow_nan=False) | st.integers(-100, 100))


def test_a_state_comes_back():
    assert UserState.from_bytes(STATE.to_bytes()) == STATE


@given(
    st.text(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(),
    st.lists(st.text()),
    FEATURES,
    st.none() | st.text(min_size=1),
)
def test_any_state_comes_back(model, version, user_id, history, features, label):
    state = UserState(model, version, TENSORS, User(user_id, history, features), label)
    assert UserState.from_bytes(state.to_bytes()) == state


@given(st.integers(0, len(STATE.to_bytes()) - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position, change):
    data = bytearray(STATE.to_bytes())
    data[position] ^= change
    with pytest.raises(InvalidState):
        UserState.from_bytes(bytes(data))


@given(st.integers(0, len(STATE.to_bytes()) - 1))
def test_a_cut_state_is_noticed(length):
    with pytest.raises(InvalidState):
        UserState.from_bytes(STATE.to_bytes()[:length])


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data):
    with pytest.raises(InvalidState, match=r"no user state; expected what UserState\.to_bytes returned"):
        UserState.from_bytes(data)


@pytest.mark.parametrize("data", [None, "DMFU", 3, memoryview(b"x" * 100)], ids=lambda data: type(data).__name__)
def test_what_is_no_bytes_is_refused(data):
    with pytest.raises(InvalidState, match=f"a {type(data).__name__} is no user state"):
        UserState.from_bytes(data)


def test_a_later_format_is_named():
    data = bytearray(STATE.to_bytes())
    data[4:6] = (2).to_bytes(2, "little")
    with pytest.raises(InvalidState, match="format 2, this client reads format 1"):
        UserState.from_bytes(bytes(data))


def test_a_state_says_little_of_itself():
    # Logs must not get a user's history by accident.
    assert repr(STATE) == "UserState(model='demo', version=7, label='canary')"


def test_a_state_of_another_model_is_refused():
    with FakeRankingServer("one") as server, RankingClient(server.target, "one") as client:
        with pytest.raises(BadRequest, match="the state is of model 'demo', this client asks 'one'") as error:
            client.score(STATE, ["i1"])
        assert error.value.field == "state"
        with pytest.raises(BadRequest, match="state must be a UserState, got bytes"):
            client.score(STATE.to_bytes(), ["i1"])
        assert not server.calls
