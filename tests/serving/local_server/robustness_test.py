"""Requests that are no requests: a status code each, the server stays up, and its memory comes back."""

from __future__ import annotations

import gc

import numpy as np
import psutil
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.local_server.server import LocalServer
from tests.serving.local_server.asking import Asker, outcome, refusal

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def asker(models):
    with LocalServer(models, "small") as server, Asker(server.target) as asker:
        yield asker


def tensor(dtype, shape, **values):
    proto = tensor_pb2.TensorProto(dtype=dtype, **values)
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    return proto


def unknown_rank():
    proto = tensor(types_pb2.DT_FLOAT, [])
    proto.tensor_shape.unknown_rank = True
    return proto


BAD_TENSORS = {
    "no values for 2^40 elements": ("candidate_item_id", tensor(types_pb2.DT_STRING, [1, 2**40])),
    "one value for 2^40 elements": ("candidate_item_id", tensor(types_pb2.DT_STRING, [1, 2**40], string_val=[b"i1"])),
    "more elements than a number holds": ("candidate_item_id", tensor(types_pb2.DT_STRING, [2**62, 2**62])),
    "none of too many": ("candidate_item_id", tensor(types_pb2.DT_STRING, [0, 2**62])),
    "negative size": ("age", tensor(types_pb2.DT_FLOAT, [-1], float_val=[1.0])),
    "unknown rank": ("age", unknown_rank()),
    "no dtype": ("age", tensor(types_pb2.DT_INVALID, [1])),
    "no such dtype": ("age", tensor(9999, [1])),
    "half a number": ("age", tensor(types_pb2.DT_FLOAT, [1], tensor_content=b"\0\0")),
    "too much content": ("age", tensor(types_pb2.DT_FLOAT, [1], tensor_content=b"\0" * 400)),
    "strings in content": ("user_id", tensor(types_pb2.DT_STRING, [1], tensor_content=b"\xff\xff\xff\xff\x7fabc")),
}


def with_tensor(asker, name, proto):
    request = asker.request()
    request.inputs[name].CopyFrom(proto)
    return request


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_tensors_that_are_none(asker, case):
    name, proto = BAD_TENSORS[case]
    code, details = refusal(lambda: asker.send(with_tensor(asker, name, proto)))
    assert code == "INVALID_ARGUMENT"
    assert name in details
    assert asker.predict()[0] == 3


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([34.0], [34.0, 34.0, 34.0]),
        ([34.0, 20.0], [34.0, 20.0, 20.0]),
        ([], [0.0] * 3),
        ([1.0, 2.0, 3.0, 4.0], [1, 2, 3]),
    ],
)
def test_values_are_read_as_tensorflow_reads_them(asker, given, read):
    arrays = {
        "user_id": np.array([b"u1"] * 3, object),
        "history_item_id": np.array([[b"i1"]] * 3, object),
        "gender": np.array([b"f"] * 3, object),
        "age": np.array(read, np.float32),
        "candidate_item_id": np.array([[b"i4"]] * 3, object),
    }
    request = asker.request(arrays=arrays)
    request.inputs["age"].CopyFrom(tensor(types_pb2.DT_FLOAT, [3], float_val=given))
    answer = tf.make_ndarray(asker.send(request).outputs["score"])
    np.testing.assert_array_equal(answer, asker.predict(arrays=arrays)[1]["score"])


@settings(max_examples=60, deadline=None)
@given(garbage=st.binary(max_size=300))
def test_bytes_that_are_no_request(asker, garbage):
    for method in ("PredictionService/Predict", "PredictionService/GetModelMetadata", "ModelService/GetModelStatus"):
        call = asker.channel.unary_unary(f"/tensorflow.serving.{method}")
        code, _ = refusal(lambda call=call: call(garbage, timeout=30))
        assert code in ("INTERNAL", "INVALID_ARGUMENT", "NOT_FOUND")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_requests_with_flipped_bytes(asker, data):
    good = asker.request().SerializeToString()
    places = data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=4))
    bad = bytearray(good)
    for place in places:
        bad[place] ^= data.draw(st.integers(1, 255))
    call = asker.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    code = outcome(lambda: call(bytes(bad), timeout=30))
    assert code in ("OK", "INTERNAL", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION")
    assert asker.predict()[0] == 3


def test_memory_comes_back_after_bad_requests(asker):
    process = psutil.Process()
    bad = [with_tensor(asker, *BAD_TENSORS[case]) for case in BAD_TENSORS]
    # Refused after it was read: a request of 4 MB whose other inputs are wrong.
    large = asker.request(arrays={"candidate_item_id": np.array([[b"x" * 1000] * 4000], object)})
    for request in (*bad, large):
        refusal(lambda request=request: asker.send(request))
    gc.collect()
    before = process.memory_info().rss
    for number in range(200):
        request = bad[number % len(bad)] if number % 4 else large
        refusal(lambda request=request: asker.send(request))
    gc.collect()
    # The large requests alone are 200 MB.
    assert process.memory_info().rss - before < 60 * MEGABYTE
    assert asker.predict()[0] == 3
