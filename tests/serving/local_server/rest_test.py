"""REST as a user of curl meets it: paths, statuses and words are TensorFlow Serving's, scores those of gRPC."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.client import RankingClient, RestRankingClient, ServerUnavailable
from serving.client.options import ClientOptions, RetryOptions
from serving.local_server.batching import BatchingOptions
from serving.local_server.errors import LocalServerError
from serving.local_server.server import LocalServer
from tests.serving.local_server.asking import Asker, until

INPUTS = {
    "user_id": ["u1"],
    "history_item_id": [["i3", "i1", "i2"]],
    "gender": ["f"],
    "age": [34],
    "candidate_item_id": [["i4", "i5", "i1", "new"]],
}
RANK = {"signature_name": "rank", "inputs": INPUTS}


class Rest:
    """One kept connection to a server."""

    def __init__(self, target: str):
        self.connection = http.client.HTTPConnection(target, timeout=60)

    def ask(self, path: str, body=None, **headers) -> tuple[int, dict]:
        """Status and JSON; bytes as body go as they are."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request("GET" if raw is None else "POST", path, raw, headers)
        response = self.connection.getresponse()
        assert response.headers["Content-Type"] == "application/json"
        answer = response.read()
        if response.headers["Content-Encoding"] == "gzip":
            answer = gzip.decompress(answer)
        return response.status, json.loads(answer)

    def predict(self, body, path="/v1/models/small:predict", **headers) -> tuple[int, dict]:
        return self.ask(path, body, **headers)


@pytest.fixture(scope="module")
def server(models):
    with LocalServer(models, "small", rest_port=0, labels={"stable": 3}, max_message_bytes=1_000_000) as server:
        yield server


@pytest.fixture
def rest(server):
    rest = Rest(server.rest_target)
    yield rest
    # After whatever was asked the same connection still answers.
    assert rest.predict(RANK)[0] == 200
    rest.connection.close()


@pytest.mark.parametrize("path", ["", "/versions/3", "/labels/stable"])
def test_scores_are_those_of_the_model(rest, expected, path):
    status, answer = rest.predict(RANK, f"/v1/models/small{path}:predict")
    assert (status, set(answer)) == (200, {"outputs"})
    np.testing.assert_allclose(answer["outputs"], expected[3], atol=1e-6)
    # Written with the fewest digits that tell a float32, not with those of the double.
    assert all(len(str(score)) <= 12 for score in answer["outputs"][0])


def test_rows_are_answered_with_rows(rest, expected):
    row = {name: values[0] for name, values in INPUTS.items()}
    other = row | {"user_id": "u2"}
    status, answer = rest.predict({"signature_name": "rank", "instances": [row, other]})
    assert (status, set(answer)) == (200, {"predictions"})
    np.testing.assert_allclose(answer["predictions"][0], expected[3][0], atol=1e-6)
    assert not np.allclose(answer["predictions"][1], answer["predictions"][0], atol=1e-3)


def test_several_outputs_come_by_name_in_both_forms_and_score(rest, expected):
    user = {name: values for name, values in INPUTS.items() if name != "candidate_item_id"}
    _, columns = rest.predict({"signature_name": "user_tower", "inputs": user})
    state = columns["outputs"]
    assert state["history_mask"] == [[True, True, True]]
    row = {name: values[0] for name, values in user.items()}
    _, rows = rest.predict({"signature_name": "user_tower", "instances": [row]})
    assert rows["predictions"] == [{name: values[0] for name, values in state.items()}]
    inputs = state | {"candidate_item_id": INPUTS["candidate_item_id"]}
    _, scored = rest.predict({"signature_name": "candidate", "inputs": inputs})
    np.testing.assert_allclose(scored["outputs"], expected[3], atol=1e-6)


def test_strings_may_come_as_base64(rest):
    def scores(item):
        return rest.predict({**RANK, "inputs": INPUTS | {"candidate_item_id": [[item]]}})[1]["outputs"]

    assert scores({"b64": base64.b64encode(b"i4").decode()}) == scores("i4")
    no_text = scores({"b64": base64.b64encode(b"\xff\xfe").decode()})
    assert no_text != scores("i4")


def test_status_and_metadata(rest, server):
    status, answer = rest.ask("/v1/models/small")
    assert status == 200
    assert answer == {
        "model_version_status": [
            {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    assert rest.ask("/v1/models/small/versions/3") == (200, answer)
    status, metadata = rest.ask("/v1/models/small/versions/3/metadata")
    assert status == 200
    assert (metadata["model_spec"]["name"], metadata["model_spec"]["version"]) == ("small", "3")
    inputs = metadata["metadata"]["signature_def"]["signature_def"]["rank"]["inputs"]
    assert inputs["age"]["dtype"] == "DT_FLOAT"
    assert inputs["candidate_item_id"]["tensor_shape"]["dim"][1]["size"] == "-1"
    assert rest.ask("/v1/models/small/labels/stable/metadata") == (200, metadata)


def changed(**inputs):
    return {**RANK, "inputs": INPUTS | inputs}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/", None, 404, "models are at /v1/models/NAME"),
        ("/v1/models", None, 400, "Malformed request: GET /v1/models"),
        ("/v1/models/small", RANK, 400, "Malformed request: POST /v1/models/small"),
        ("/v1/models/small:predict", None, 400, "Malformed request: GET"),
        ("/v1/models/small:classify", RANK, 501, "the models take tensors: predict"),
        ("/v1/models/other:predict", RANK, 404, "Servable not found for request: Latest(other)"),
        ("/v1/models/small/versions/7:predict", RANK, 404, "Servable not found for request: Specific(small, 7)"),
        ("/v1/models/small/versions/7", None, 404, "Could not find version 7 of model small"),
        (f"/v1/models/small/versions/{2**63}:predict", RANK, 400, "Failed to convert version"),
        (f"/v1/models/small/versions/{'9' * 5000}:predict", RANK, 400, "Failed to convert version: 9999"),
        (f"/v1/models/small/versions/{'9' * 5000}", None, 400, "Failed to convert version: 9999"),
        (f"/v1/models/small/versions/{'0' * 5000}7", None, 404, "Could not find version 7 of model small"),
        ("/v1/models/small/labels/canary:predict", RANK, 400, "Unrecognized servable version label: canary"),
        ("/v1/models/other", None, 404, "Could not find any versions of model other"),
        ("/v1/models/small:predict", {**RANK, "signature_name": "recall"}, 400, 'signature name: "recall" not found'),
        ("/v1/models/small:predict", {"inputs": INPUTS}, 400, 'signature name: "serving_default" not found'),
    ],
    ids=lambda value: f"{value!s:.60}",
)
def test_what_is_not_there(rest, path, body, status, words):
    found, answer = rest.ask(path, body)
    assert found == status
    assert set(answer) == {"error"}
    assert words in answer["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"\xff", "JSON Parse error"),
        (b"[" * 100_000, "JSON Parse error"),
        (b"[1]", "Is not object"),
        ({"signature_name": 3, "inputs": INPUTS}, "'signature_name' key must be a string"),
        ({"signature_name": "rank"}, "Missing 'inputs' or 'instances' key"),
        ({**RANK, "instances": []}, "only one of 'inputs' or 'instances'"),
        ({"signature_name": "rank", "instances": []}, "Expecting 'instances' to be a list/array with values"),
        ({"signature_name": "rank", "instances": [{"age": 3}]}, "Failed to process element: 0 of 'instances'"),
        ({"signature_name": "rank", "instances": [3]}, "expecting an object as multiple input tensors required"),
        ({"signature_name": "rank", "inputs": [["i1"]]}, "expecting an object as multiple input tensors required"),
        ({**RANK, "inputs": {"age": [3]}}, "Missing named input: candidate_item_id, gender"),
        (changed(age=["old"]), "input 'age': JSON Value: \"old\" Type: str is not of expected type: float32"),
        (changed(age=[None]), "input 'age': JSON Value: null"),
        (changed(age=[True]), "input 'age': JSON Value: true"),
        (changed(age=[1e300]), "input 'age': Cannot convert JSON value: 1e+300 to float32 without loss"),
        (changed(age=[10**400]), "input 'age': Cannot convert JSON value to float32"),
        (changed(gender=[3]), "input 'gender': JSON Value: 3"),
        (changed(gender=[{"b64": "!"}]), "input 'gender': Unable to base64 decode"),
        (changed(gender=[{"b64": "\u00fc\u00fc\u00fc\u00fc"}]), "input 'gender': Unable to base64 decode"),
        (changed(gender=[{"b64": "Zg"}]), "input 'gender': Unable to base64 decode"),
        (changed(gender=[{"b64": "\ud83d"}]), "input 'gender': Unable to base64 decode"),
        (changed(gender=[{"b64": 3}]), "input 'gender': JSON Value"),
        (changed(candidate_item_id=["i1"]), "input 'candidate_item_id' must have shape [?, ?], got [1]"),
        (changed(candidate_item_id="i1"), "input 'candidate_item_id' must have shape [?, ?], got []"),
        (changed(history_item_id=[["i1"], ["i1", "i2"]]), "input 'history_item_id': Encountered list at unexpected"),
        (changed(history_item_id=[["i1"], "i2"]), "input 'history_item_id': Encountered list at unexpected"),
        (changed(age=json.loads("[" * 70 + "]" * 70)), "input 'age'"),
        # Rows that do not fit each other: the graph itself notices.
        (changed(user_id=["u1", "u2", "u3"], age=[1, 2]), ""),
    ],
    ids=lambda value: f"{value!s:.60}",
)
def test_a_bad_request_is_400_with_words_and_the_server_stays_up(rest, body, words):
    status, answer = rest.predict(body)
    assert status == 400
    assert words in answer["error"]


def test_values_that_json_lacks_and_inputs_that_nobody_asked_for(rest, expected):
    # NaN is how a missing number is said, and TensorFlow Serving's parser takes it too; further inputs it ignores.
    status, _ = rest.predict(changed(age=[float("nan")]))
    assert status == 200
    _, answer = rest.predict(changed(city=["x"]))
    np.testing.assert_allclose(answer["outputs"], expected[3], atol=1e-6)
    status, answer = rest.predict(changed(history_item_id=[[]]))
    assert (status, len(answer["outputs"][0])) == (200, 4)


def test_compression_in_both_directions(rest, expected):
    packed = gzip.compress(json.dumps(RANK).encode())
    status, answer = rest.predict(packed, **{"Content-Encoding": "gzip", "Accept-Encoding": "gzip"})
    assert status == 200
    np.testing.assert_allclose(answer["outputs"], expected[3], atol=1e-6)
    for body, words in ((b"no gzip", "not gzip"), (packed[:-9], "ends too early")):
        status, answer = rest.predict(body, **{"Content-Encoding": "gzip"})
        assert status == 400
        assert words in answer["error"]


def test_a_body_beyond_the_bound_is_413_packed_or_not(rest):
    large = json.dumps(changed(candidate_item_id=[["x" * 1000] * 1100])).encode()
    for body, headers in ((large, {}), (gzip.compress(large), {"Content-Encoding": "gzip"})):
        status, answer = rest.predict(body, **headers)
        assert status == 413
        assert "larger than the limit of 1000000" in answer["error"]


def test_a_few_packed_bytes_may_not_inflate_to_gigabytes(models):
    # A server that takes bodies of any size, as `dmf serve` does.
    bomb = zlib.compressobj(9, wbits=31)
    packed = b"".join(bomb.compress(b" " * 10_000_000) for _ in range(30)) + bomb.flush()
    assert len(packed) < 1_000_000
    with LocalServer(models, "small", rest_port=0) as server:
        rest = Rest(server.rest_target)
        status, answer = rest.predict(packed, **{"Content-Encoding": "gzip"})
        assert (status, "larger than the limit of 67108864" in answer["error"]) == (413, True)
        assert rest.predict(RANK)[0] == 200


def test_a_body_without_a_length_is_refused_and_the_connection_closed(server):
    with socket.create_connection(server.rest_target.split(":")) as connection:
        connection.sendall(b"POST /v1/models/small:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Length, in bytes" in answer


def test_one_call_more_than_allowed_is_refused(folder):
    folder.add(1)
    # The call waits for a second one to share its batch, which cannot come.
    batching = BatchingOptions(max_batch_size=2, timeout_seconds=5)
    with LocalServer(folder.path, rest_port=0, batching=batching, max_concurrent=1) as server:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(Rest(server.rest_target).predict, RANK)
            until(lambda: server._versions._available[1].calls == 1)
            status, answer = Rest(server.rest_target).predict(RANK)
            assert (status, answer) == (429, {"error": "1 calls are running, and no more may"})
            assert waiting.result()[0] == 200
        assert Rest(server.rest_target).predict(RANK)[0] == 200


def test_calls_under_way_may_end_while_new_ones_are_refused(folder):
    folder.add(1)
    batching = BatchingOptions(max_batch_size=2, timeout_seconds=3)
    server = LocalServer(folder.path, rest_port=0, batching=batching)
    with server, ThreadPoolExecutor(2) as pool:
        kept = Rest(server.rest_target)
        assert kept.ask("/v1/models/small")[0] == 200
        waiting = pool.submit(Rest(server.rest_target).predict, RANK)
        until(lambda: server._versions._available[1].calls == 1)
        stopping = pool.submit(server.stop, 600)
        until(lambda: not _connects(server.rest_target))
        until(lambda: kept.ask("/v1/models/small") == (503, {"error": "the server is stopping"}))
        assert waiting.result()[0] == 200
        stopping.result()


def _connects(target: str) -> bool:
    try:
        socket.create_connection(target.split(":"), timeout=5).close()
    except OSError:
        return False
    return True


def test_ports_that_cannot_be_had(folder):
    folder.add(1)
    with LocalServer(folder.path, rest_port=0) as server:
        port, rest_port = (int(target.rpartition(":")[2]) for target in (server.target, server.rest_target))
        with pytest.raises(LocalServerError, match=f"cannot listen at 127.0.0.1:{rest_port}; is another server"):
            LocalServer(folder.path, rest_port=rest_port).start()
        # The second one's REST port is free again, though it was gRPC's that was taken.
        other = LocalServer(folder.path, port=port, rest_port=0)
        with pytest.raises(LocalServerError, match=f"cannot listen at 127.0.0.1:{port}; is another server"):
            other.start()
        assert not _connects(other.rest_target)
        assert Rest(server.rest_target).predict(RANK)[0] == 200
    with pytest.raises(LocalServerError, match="want a port each; got 8500 for both"):
        LocalServer(folder.path, port=8500, rest_port=8500)
    with pytest.raises(LocalServerError, match=r"cannot listen at 192\.0\.2\.1:\d+: .*is 192\.0\.2\.1 an address of"):
        LocalServer(folder.path, host="192.0.2.1", port=18500).start()


def test_clients_at_the_wrong_port_are_told_so(server):
    once = ClientOptions(deadline=30.0, retry=RetryOptions(max_attempts=1))
    for client, target in ((RankingClient, server.rest_target), (RestRankingClient, server.target)):
        refused = pytest.raises(ServerUnavailable, match="is this its port")
        with client(target, "small", once) as asking, refused as error:
            asking.model_status()
        assert str(error.value).isprintable()
    with Asker(server.target) as asker:
        assert asker.predict()[0] == 3
