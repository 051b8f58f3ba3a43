"""TensorProto to numpy and back, against TensorFlow's own functions."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.protobuf import meta_graph_pb2

from serving.local_server.tensors import decode, encode

ARRAYS = [
    np.array([[0.5, -1.0, np.nan, np.inf]], np.float32),
    np.array([1e300, -0.0], np.float64),
    np.array([[1, -(2**40)]], np.int64),
    np.array([7, -7], np.int32),
    np.array([200], np.uint8),
    np.array([-3], np.int8),
    np.array([[True], [False]]),
    np.array([["", "i1", "ü"]], object),
    np.zeros((1, 0), object),
    np.zeros((0, 3), np.float32),
    np.array(2.5, np.float32),
    np.array([1, 2], np.uint64),
    np.array([0.25], np.float16),
]


def info(array, shape=None):
    dtype = tf.string if array.dtype == object else tf.dtypes.as_dtype(array.dtype)
    sizes = array.shape if shape is None else shape
    return meta_graph_pb2.TensorInfo(
        name="x:0", dtype=dtype.as_datatype_enum, tensor_shape=tf.TensorShape(sizes).as_proto()
    )


def as_bytes(array):
    if array.dtype != object:
        return array
    encoded = [value if isinstance(value, bytes) else value.encode() for value in array.ravel()]
    return np.array(encoded, object).reshape(array.shape)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
def test_round_trips(array):
    expected = as_bytes(array)
    decoded = decode("x", tf.make_tensor_proto(array), info(array))
    assert decoded.dtype == expected.dtype
    np.testing.assert_array_equal(decoded, expected)
    # Values in the dtype's field, as other clients write them.
    again = encode(decoded)
    np.testing.assert_array_equal(as_bytes(tf.make_ndarray(again)), expected)
    np.testing.assert_array_equal(decode("x", again, info(array, [None] * array.ndim)), expected)


@given(values=st.lists(st.floats(width=32), max_size=300))
def test_packed_floats_are_those_that_protobuf_would_write(values):
    proto = encode(np.array(values, np.float32))
    other = type(proto)(dtype=proto.dtype, tensor_shape=proto.tensor_shape, float_val=values)
    assert proto.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


@given(values=st.lists(st.binary(max_size=20), max_size=50))
def test_any_bytes_are_a_string(values):
    array = np.array(values, object)
    np.testing.assert_array_equal(decode("x", encode(array), info(array)), array)
