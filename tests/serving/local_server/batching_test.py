"""Batches are made by TensorFlow Serving's rules, and a client that keeps to the conventions gets exact scores."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from serving import contract
from serving.export.servable import Servable
from serving.local_server.batching import Batcher, BatchingOptions, merge, split
from serving.local_server.errors import LocalServerError, StatusError
from serving.local_server.server import LocalServer
from tests.serving.local_server.asking import Asker


def strings(*rows):
    return np.array([list(row) for row in rows], object)


def code_of(call):
    with pytest.raises(StatusError) as caught:
        call()
    return caught.value.code, str(caught.value)


def test_each_tensor_is_padded_with_its_first_element():
    merged = merge(
        [
            {"ids": strings("ab"), "rows": np.array([[[1.0, 2.0]]], np.float32), "age": np.array([1], np.float32)},
            {
                "ids": strings("cdef", "ghij"),
                "rows": np.arange(3, 15, dtype=np.float32).reshape(2, 3, 2),
                "age": np.array([2, 3], np.float32),
            },
        ]
    )
    assert merged["ids"].tolist() == [list("abaa"), list("cdef"), list("ghij")]
    assert merged["rows"][0].tolist() == [[1, 2], [1, 1], [1, 1]]
    assert merged["rows"].dtype == np.float32
    assert merged["age"].tolist() == [1, 2, 3]


def test_an_empty_tensor_cannot_be_padded_and_fails_the_batch():
    empty = {"ids": np.zeros((1, 0), object)}
    assert merge([empty, empty])["ids"].shape == (2, 0)
    assert code_of(lambda: merge([empty, {"ids": strings("ab")}])) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Got empty tensor in batch of non-empty tensors.",
    )


def test_rows_go_back_to_their_calls():
    first, second = split({"score": np.arange(6).reshape(3, 2)}, [1, 2])
    assert first["score"].tolist() == [[0, 1]]
    assert second["score"].tolist() == [[2, 3], [4, 5]]
    for output in (np.array(1.0), np.zeros((2, 2))):
        code, _ = code_of(lambda output=output: split({"score": output}, [1, 2]))
        assert code == grpc.StatusCode.FAILED_PRECONDITION


def test_inputs_that_cannot_be_batched():
    batcher = Batcher(dict, BatchingOptions(max_batch_size=2, timeout_seconds=0))
    for inputs, message in (
        ({"a": np.array(1)}, "Batching Run() input tensors must have at least one dimension"),
        ({"a": np.zeros(1), "b": np.zeros(2)}, "must have equal 0th-dimension size"),
        ({"a": np.zeros(3)}, "Task size 3 is larger than maximum input batch size 2"),
    ):
        code, said = code_of(lambda inputs=inputs: batcher(inputs))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert message in said
    with pytest.raises(LocalServerError, match="at least 1 row"):
        BatchingOptions(max_batch_size=0)


def test_calls_run_together_up_to_the_size_and_no_longer_than_the_timeout():
    runs = []

    def run(inputs):
        runs.append(len(inputs["a"]))
        return {"double": 2 * inputs["a"]}

    # Only a full batch ends within this time.
    batcher = Batcher(run, BatchingOptions(max_batch_size=4, timeout_seconds=300))
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(batcher, {"a": np.array([number])}) for number in range(8)]
        assert [future.result()["double"].tolist() for future in futures] == [[2 * number] for number in range(8)]
    assert runs == [4, 4]
    # One row does not fit beside three, so the batch before it is closed.
    with ThreadPoolExecutor(3) as pool:
        three = pool.submit(batcher, {"a": np.arange(3)})
        while batcher._open is None:
            threading.Event().wait(0.001)
        two = pool.submit(batcher, {"a": np.arange(2)})
        assert three.result()["double"].tolist() == [0, 2, 4]
        rest = pool.submit(batcher, {"a": np.arange(2)})
        assert two.result()["double"].tolist() == rest.result()["double"].tolist() == [0, 2]
    # Alone, after the timeout.
    assert Batcher(run, BatchingOptions(timeout_seconds=0.01))({"a": np.array([1])})["double"].tolist() == [2]


def test_a_batch_that_fails_fails_for_all_of_it():
    def run(inputs):
        raise StatusError(grpc.StatusCode.INTERNAL, "broken")

    batcher = Batcher(run, BatchingOptions(max_batch_size=2, timeout_seconds=300))
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(batcher, {"a": np.zeros(1)}) for _ in range(2)]
        for future in futures:
            assert str(future.exception()) == "broken"


REQUESTS = [
    {"user": "u1", "history": ["i1", "i3", "i25"], "gender": "f", "age": 1.5, "candidates": ["i2", "i3", "i28", "new"]},
    {"user": "u2", "history": ["new", "i7", "i7", "i8", "i9"], "gender": "m", "age": -0.5, "candidates": ["i7"]},
    {"user": "nobody", "history": [], "gender": "", "age": 0.0, "candidates": ["i4", "i29"]},
    {"user": "u2", "history": ["i2"], "gender": "", "age": 3.0, "candidates": [f"i{n}" for n in range(1, 8)]},
]


def user_arrays(request, begin):
    """As the client sends it: a history begins with "", which is what the server pads with."""
    return {
        contract.USER_ID: np.array([request["user"].encode()], object),
        contract.HISTORY_ITEM_ID: strings([item.encode() for item in [*begin, *request["history"]]]),
        "gender": np.array([request["gender"].encode()], object),
        "age": np.array([request["age"]], np.float32),
    }


@pytest.fixture(scope="module")
def exported(exported_dmf):
    """The base path of a real model, and its scores of each request by itself."""
    base = exported_dmf.parent
    alone = []
    with Servable(base / "1", optimised=False) as servable:
        for request in REQUESTS:
            arrays = {**user_arrays(request, []), contract.CANDIDATE_ITEM_ID: strings(request["candidates"])}
            alone.append(servable.run(contract.RANK, arrays)[contract.SCORE][0])
    return base, alone


def ask_together(base, ask):
    """What `ask(asker, request)` gives for each request; every batch is full, with one row of each of them."""
    batching = BatchingOptions(max_batch_size=len(REQUESTS), timeout_seconds=300)
    with (
        LocalServer(base, "small", batching=batching) as server,
        Asker(server.target) as asker,
        ThreadPoolExecutor(len(REQUESTS)) as pool,
    ):
        return list(pool.map(lambda request: ask(asker, request), REQUESTS))


@pytest.mark.slow
def test_neighbours_change_no_score_of_a_client_that_cuts_and_begins_with_nothing(exported):
    base, alone = exported

    def rank(asker, request):
        candidates = {contract.CANDIDATE_ITEM_ID: strings([item.encode() for item in request["candidates"]])}
        return asker.predict(contract.RANK, {**user_arrays(request, [""]), **candidates})[1][contract.SCORE][0]

    def in_two_steps(asker, request):
        _, state = asker.predict(contract.USER_TOWER, user_arrays(request, [""]))
        candidates = {contract.CANDIDATE_ITEM_ID: strings([item.encode() for item in request["candidates"]])}
        return asker.predict(contract.CANDIDATE, {**state, **candidates})[1][contract.SCORE][0]

    for ask in (rank, in_two_steps):
        for request, scores, wide in zip(REQUESTS, alone, ask_together(base, ask), strict=True):
            assert len(wide) == max(len(other["candidates"]) for other in REQUESTS)
            np.testing.assert_allclose(wide[: len(request["candidates"])], scores, atol=1e-6)


@pytest.mark.slow
def test_without_the_convention_neighbours_do_change_scores(exported):
    """A server that is kinder than TensorFlow Serving would hide what a client does wrong."""
    base, alone = exported

    def rank(asker, request):
        history = {**request, "history": request["history"] or [""]}
        candidates = {contract.CANDIDATE_ITEM_ID: strings([item.encode() for item in request["candidates"]])}
        return asker.predict(contract.RANK, {**user_arrays(history, []), **candidates})[1][contract.SCORE][0]

    wide = ask_together(base, rank)
    assert not np.allclose(wide[3][:7], alone[3], atol=1e-4)
