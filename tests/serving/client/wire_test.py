"""Answers that are none, and connections that break: servers made of sockets and raw bytes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import tracemalloc
from concurrent import futures

import grpc
import numpy as np
import pytest

from serving.client import (
    BadRequest,
    ClientOptions,
    DeadlineExceeded,
    InvalidAnswer,
    MessageTooLarge,
    ModelNotFound,
    RankingClient,
    RestRankingClient,
    RetryOptions,
    ServerError,
    ServerUnavailable,
    SignatureNotFound,
    TlsOptions,
)
from serving.client.answers import scores_of, version_of
from serving.client.grpc_channel import PREDICT, call_failed
from serving.client.model_info import Signature, parse_metadata, parse_status
from serving.client.requests import Selector, predict_request
from serving.client.rest_json import decode, encode
from serving.client.tensors import number_tensor, string_tensor, to_array
from serving.contract import TensorContract
from serving.protos.model_status_pb2 import GetModelStatusResponse
from serving.protos.predict_pb2 import GetModelMetadataResponse, PredictResponse
from serving.protos.tensor_pb2 import TensorProto
from serving.testing import FakeRankingServer
from tests.serving.client.servers import FEATURES, MODEL, USER, items

TWO = {"dim": [{"size": 1}, {"size": 2}]}
ONCE = ClientOptions(deadline=30.0, retry=RetryOptions(max_attempts=1))


@contextlib.contextmanager
def answering(*answers: bytes):
    """A TCP server that gives each connection one of the answers, the last one for ever, and hangs up."""
    with socket.create_server(("localhost", 0)) as listener:

        def serve():
            for number in range(1000):
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answers[min(number, len(answers) - 1)])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"localhost:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (http("200 OK", b"<html>welcome</html>"), InvalidAnswer, "not what TensorFlow Serving's REST API sends"),
        (http("200 OK", b"[1, 2]"), InvalidAnswer, "REST API sends"),
        (http("200 OK", b'{"model_version_status": 3}'), InvalidAnswer, "REST API sends"),
        (http("200 OK", b"\xff\xfe"), InvalidAnswer, "REST API sends"),
        (http("200 OK", b"[" * 100_000), InvalidAnswer, "REST API sends.*recursion"),
        (http("200 OK", b'{"model_version_status": [{"version": 1e999}]}'), InvalidAnswer, "REST API sends"),
        (http("200 OK", b'{"model_version_status": [{"version": "' + b"9" * 5000 + b'"}]}'), InvalidAnswer, "REST API"),
        (http("400 Bad", b'{"error":' * 100_000), BadRequest, "HTTP 400"),
        (http("502 Bad Gateway", b"<html>nginx</html>"), ServerUnavailable, "HTTP 502: <html>nginx</html>"),
        (http("503 Busy", b""), ServerUnavailable, "answered that it is not available.*HTTP 503"),
        (http("404 Not Found", b'{"error": "who?"}'), ModelNotFound, "HTTP 404: who?"),
        (http("418 Teapot", b"short and stout"), ServerError, "INTERNAL.*HTTP 418: short and stout"),
        (http("413 Large", b"<html>"), MessageTooLarge, "refused the request for its size"),
        (http("200 OK", b"x" * 100)[:-50], ServerUnavailable, "IncompleteRead"),
        (b"PRI * HTTP/2.0\r\n\r\n", ServerUnavailable, "BadStatusLine.*8501 REST"),
        (b"", ServerUnavailable, "cannot reach.*RemoteDisconnected"),
        (http("200 OK", b"not gzip", "Content-Encoding: gzip"), ServerUnavailable, "incorrect header check"),
    ],
    ids=lambda value: "" if isinstance(value, bytes | type) else value[:30],
)
def test_a_rest_answer_that_is_none_is_typed(answer, error, message):
    with (
        answering(answer) as target,
        RestRankingClient(target, MODEL, ONCE) as client,
        pytest.raises(error, match=message),
    ):
        client.model_status()


def test_a_rest_server_that_says_nothing_costs_the_deadline():
    with socket.create_server(("localhost", 0)) as listener:
        target = f"localhost:{listener.getsockname()[1]}"
        with RestRankingClient(target, MODEL, ONCE) as client, pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"):
            client.model_status(deadline=0.2)


def test_a_connection_closed_while_idle_is_replaced_without_an_attempt():
    seen = []
    good = http("200 OK", b'{"model_version_status": [{"version": "3", "state": "AVAILABLE"}]}')
    options = ClientOptions(deadline=30.0, retry=RetryOptions(max_attempts=1), on_call=seen.append)
    with answering(good) as target, RestRankingClient(f"http://{target}/", MODEL, options) as client:
        for _ in range(3):
            assert client.model_status().available == (3,)
    assert [(record.attempt, record.code) for record in seen] == [(1, "OK")] * 3


def test_a_prefix_and_odd_names_are_kept_in_the_path():
    received = []
    with (
        FakeRankingServer("a/b c:ü", features=FEATURES) as server,
        RestRankingClient(server.rest_target, "a/b c:ü", ONCE) as client,
    ):
        assert client.rank(USER, items(3)).model_version == 1
    with socket.create_server(("localhost", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(1 << 16))
                connection.sendall(http("404 Not Found", b""))

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://localhost:{listener.getsockname()[1]}/ranking/"
        with RestRankingClient(url, MODEL, ONCE) as client, pytest.raises(ModelNotFound):
            client.model_status()
        thread.join()
    assert received[0].startswith(b"GET /ranking/v1/models/conformance HTTP/1.1\r\n")


def test_a_grpc_answer_that_is_none_is_typed():
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\xff\xff\xff")
    server = grpc.server(futures.ThreadPoolExecutor(1))
    name = PREDICT.rpartition("/")[0].strip("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"GetModelMetadata": handler}),))
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        with RankingClient(f"localhost:{port}", MODEL, ONCE) as client:
            with pytest.raises(InvalidAnswer, match="the answer cannot be parsed"):
                client.rank(USER, items(3))
            with pytest.raises(ServerError, match=r"does not know this call.*TensorFlow Serving's port") as error:
                client.model_status()
            assert error.value.code == "UNIMPLEMENTED"
    finally:
        server.stop(None)


class Ended:
    """A gRPC error as a call raises it."""

    def __init__(self, code, details):
        self.code, self.details = (lambda: grpc.StatusCode[code]), (lambda: details)


@pytest.mark.parametrize(
    ("code", "details", "answered"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: refused", False),
        ("UNAVAILABLE", "DNS resolution failed for nowhere:8500: C-ares status is not ARES_SUCCESS", False),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", False),
        ("UNAVAILABLE", "Socket closed", False),
        ("UNAVAILABLE", "Cannot invoke RPC on closed channel!", False),
        ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full", True),
        ("CANCELLED", "CANCELLED", True),
    ],
)
def test_grpcs_words_tell_who_was_not_reached(code, details, answered):
    failure = call_failed(Ended(code, details), "localhost:1")
    assert (failure.code, failure.answered) == ("UNAVAILABLE", answered)


def test_a_servers_own_limit_is_named():
    with FakeRankingServer(MODEL, features=FEATURES, max_message_bytes=10_000) as server:
        options = ClientOptions(deadline=30.0, max_candidates_per_call=100_000)
        with RankingClient(server.target, MODEL, options) as client:
            with pytest.raises(MessageTooLarge, match=r"limit of 10,000 at localhost:.*max_receive_message_length"):
                client.rank(USER, items(10_000))
            assert len(client.rank(USER, items(10_000)[:100])) == 100
        # Split, the same list fits.
        with RankingClient(server.target, MODEL, ClientOptions(deadline=30.0, max_candidates_per_call=500)) as client:
            assert len(client.rank(USER, items(10_000))) == 10_000


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, r"no 'score', it has \[\]"),
        ({"score": number_tensor([0.5, 0.5], "float32")}, r"shape \[1, 2\] or wider, got float32 \[2\]"),
        ({"score": number_tensor([[0.5]], "float32")}, r"got float32 \[1, 1\]"),
        ({"score": number_tensor([[0.5, 1], [0.5, 1]], "float32")}, r"got float32 \[2, 2\]"),
        ({"score": number_tensor([[1, 2]], "int64")}, r"expected float scores.*got int64"),
        ({"score": string_tensor(["a", "b"], (1, 2))}, "expected float scores.*got object"),
        ({"score": number_tensor([[0.5, np.inf]], "float32")}, "1 of 2 scores are not finite"),
        ({"score": number_tensor([[0.5, 1.5]], "float32")}, r"1 of 2 scores are outside \[0, 1\], .*candidate 1: 1\.5"),
        ({"score": number_tensor([[-1e300, 0.5]], "float64")}, r"1 of 2 scores are outside \[0, 1\]"),
        ({"score": TensorProto(dtype="DT_FLOAT", tensor_shape=TWO)}, "holds 0 scores, expected one for each of 2"),
        ({"score": TensorProto(dtype="DT_HALF", tensor_shape=TWO, half_val=[0])}, "holds 1 scores"),
        ({"score": TensorProto(dtype="DT_INVALID", tensor_shape=TWO)}, "tensors of dtype number 0 cannot be read"),
        ({"score": TensorProto(dtype="DT_FLOAT", tensor_shape={"dim": [{"size": 1}] * 40})}, "cannot be read"),
        ({"score": TensorProto(dtype="DT_BFLOAT16")}, "the scores cannot be read: tensors of bfloat16"),
    ],
)
def test_scores_that_do_not_fit_are_refused(outputs, message):
    with pytest.raises(InvalidAnswer, match=message):
        scores_of(PredictResponse(outputs=outputs), 2)


def traced_peak(call) -> int:
    """The most bytes that Python and numpy held during a call, beside those before it."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("values", [{}, {"float_val": [0.5]}, {"float_val": [0.5, 0.25, 0.75]}])
def test_a_size_that_an_answer_claims_costs_no_memory(values):
    shape = {"dim": [{"size": 1}, {"size": 2**28}]}
    response = PredictResponse(outputs={"score": TensorProto(dtype="DT_FLOAT", tensor_shape=shape, **values)})
    assert len(response.SerializeToString()) < 64

    def read():
        with contextlib.suppress(InvalidAnswer):
            assert scores_of(response, 3).tolist() == [0.5, 0.25, 0.75]

    assert traced_peak(read) < 1_000_000


def test_padding_of_an_answer_costs_no_memory():
    scores = np.full((1, 4_000_000), 0.5, np.float32)
    response = PredictResponse(outputs={"score": number_tensor(scores, "float32")})
    held = len(response.outputs["score"].tensor_content)
    # Protobuf gives its bytes as a copy; beside that there are three scores.
    assert traced_peak(lambda: scores_of(response, 3)) < 2.5 * held
    np.testing.assert_array_equal(scores_of(response, 3), np.float32([0.5] * 3), strict=True)


def test_answers_without_a_version_or_signatures_are_refused():
    with pytest.raises(InvalidAnswer, match="names no version"):
        version_of(PredictResponse())
    with pytest.raises(InvalidAnswer, match="metadata has no signatures"):
        parse_metadata(GetModelMetadataResponse())
    other = GetModelMetadataResponse(metadata={"signature_def": {"type_url": "type.googleapis.com/x.Y"}})
    with pytest.raises(InvalidAnswer, match="metadata has no signatures"):
        parse_metadata(other)
    packed = {"type_url": "type.googleapis.com/tensorflow.serving.SignatureDefMap", "value": b"\xff\xff"}
    damaged = GetModelMetadataResponse(model_spec={"version": {"value": 1}}, metadata={"signature_def": packed})
    with pytest.raises(InvalidAnswer, match="signatures in the server's metadata cannot be parsed"):
        parse_metadata(damaged)


def test_a_status_of_a_later_server_is_shown_as_a_number():
    raw = GetModelStatusResponse(model_version_status=[{"version": 4, "state": 77, "status": {"error_code": 99}}])
    status = parse_status("m", raw)
    assert (status.versions[0].state, status.versions[0].error_code, status.available) == ("77", "99", ())


def test_an_unknown_signature_is_typed():
    with FakeRankingServer(MODEL, features=FEATURES) as server, RankingClient(server.target, MODEL, ONCE) as client:
        server.fail("FAILED_PRECONDITION", times=None, details='Serving signature key "rank" not found.')
        with pytest.raises(SignatureNotFound, match="has no signature"):
            client.rank(USER, items(2))


def test_rest_json_is_what_the_server_reads():
    inputs = {
        "user_id": string_tensor(["u"], (1,)),
        "history_item_id": string_tensor(["", "é"], (1, 2)),
        "raw": TensorProto(dtype="DT_STRING", tensor_shape={"dim": [{"size": 1}]}, string_val=[b"\xff"]),
        "age": number_tensor([np.nan], "float32"),
        "third": number_tensor([1 / 3], "float32"),
        "mask": number_tensor([[True, False]], "bool"),
    }
    payload = encode(predict_request("m", "rank", Selector(version=3), inputs, ["score"]))
    assert payload.path == "/v1/models/m/versions/3:predict"
    body = json.loads(payload.body)
    assert body["signature_name"] == "rank"
    # Named with NaN, which JSON has not and TensorFlow Serving's parser takes.
    assert np.isnan(body["inputs"].pop("age")[0])
    third = body["inputs"].pop("third")[0]
    assert np.float32(third) == np.float32(1 / 3) == third
    assert body["inputs"] == {
        "user_id": ["u"],
        "history_item_id": [["", "é"]],
        "raw": [{"b64": "/w=="}],
        "mask": [[True, False]],
    }


def test_rest_answers_get_the_signatures_dtypes():
    outputs = {"keys": TensorContract("float16", (None, None)), "mask": TensorContract("bool", (None, None))}
    request = predict_request("m", "user_tower", Selector(version=3), {}, outputs)
    answer = {"outputs": {"keys": [[0.5, 1]], "mask": [[True, False]], "more": [1]}}
    response = decode(request, json.dumps(answer).encode(), Signature({}, outputs))
    assert response.model_spec.version.value == 3
    np.testing.assert_array_equal(to_array(response.outputs["keys"]), np.array([[0.5, 1]], np.float16), strict=True)
    np.testing.assert_array_equal(to_array(response.outputs["mask"]), [[True, False]], strict=True)
    good = {"keys": [[0.5]], "mask": [[True]]}
    for wrong in (
        {"keys": [[0.5]]},
        {"keys": [[1], [1, 2]], "mask": [[True]]},
        {"keys": "x", "mask": [[True]]},
        # What numpy would make a number of.
        good | {"keys": [["0.5"]]},
        good | {"keys": [[None]]},
        good | {"keys": [[True]]},
        good | {"mask": [[1]]},
        good | {"keys": [[10**400]]},
        3,
    ):
        with pytest.raises(InvalidAnswer):
            decode(request, json.dumps({"outputs": wrong}).encode(), Signature({}, outputs))


def test_tls_options_take_bytes_that_are_no_certificate_for_an_error():
    with pytest.raises(ValueError, match="TlsOptions: "):
        RestRankingClient("localhost:1", MODEL, ClientOptions(tls=TlsOptions(root_certificates=b"no pem")))
