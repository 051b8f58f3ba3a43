"""Arrays to JSON and back: nothing is lost, and what does not fit is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.protobuf import meta_graph_pb2

from serving.local_server.errors import StatusError
from serving.local_server.json_tensors import read_inputs, read_tensor, write_outputs

NUMBERS = ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64", "bool"]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def info(dtype, shape):
    return meta_graph_pb2.TensorInfo(
        name="x:0", dtype=tf.dtypes.as_dtype(dtype).as_datatype_enum, tensor_shape=tf.TensorShape(shape).as_proto()
    )


def there_and_back(array, name="x"):
    answer = write_outputs({name: array}, rows=False)
    value = json.loads(json.dumps(answer))["outputs"]
    return read_tensor(name, value, info("string" if array.dtype == object else array.dtype, array.shape))


@pytest.mark.parametrize("dtype", NUMBERS)
@given(data=st.data())
def test_numbers_come_back_bit_by_bit(dtype, data):
    # An empty list has nothing to tell further dimensions by.
    array = data.draw(arrays.arrays(dtype, SHAPES.filter(lambda shape: 0 not in shape[:-1])))
    back = there_and_back(array)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


@given(values=st.lists(st.binary(max_size=20), max_size=6))
def test_bytes_come_back_where_the_name_says_so(values):
    array = np.empty(len(values), object)
    array[:] = values
    np.testing.assert_array_equal(there_and_back(array, "raw_bytes"), array)


@given(values=st.lists(st.text(max_size=20), max_size=6))
def test_text_comes_back(values):
    array = np.empty(len(values), object)
    array[:] = [value.encode() for value in values]
    np.testing.assert_array_equal(there_and_back(array), array)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int8", [300]),
        ("uint8", [-1]),
        ("int64", [2**63]),
        ("int32", [1.0]),
        ("int32", [True]),
        ("bool", [1]),
        ("float16", [1e6]),
        ("float32", ["1"]),
        ("float32", [{"b64": "AA=="}]),
        ("string", [["a"]]),
        ("complex64", [1.0]),
    ],
)
def test_what_does_not_fit_is_refused(dtype, value):
    with pytest.raises(StatusError, match="'x'") as error:
        read_tensor("x", value, info(dtype, [None]))
    assert error.value.code.name == "INVALID_ARGUMENT"


def test_one_long_string_does_not_make_room_for_itself_in_every_element():
    # As fixed-width text this would be 4 GB and more.
    value = ["x" * 1_000_000] + ["y"] * 1000
    assert [len(element) for element in read_tensor("x", value, info("string", [None]))] == [1_000_000] + [1] * 1000


def test_the_only_input_needs_no_name():
    expected = {"examples": info("string", [None])}
    assert read_inputs({"inputs": ["a", {"b64": "/w=="}]}, expected)["examples"].tolist() == [b"a", b"\xff"]
    assert read_inputs({"instances": ["a", {"b64": "/w=="}]}, expected)["examples"].tolist() == [b"a", b"\xff"]
    assert read_inputs({"inputs": {"b64": "/w=="}}, {"x": info("string", [])})["x"].tolist() == b"\xff"


def test_outputs_of_unequal_batch_cannot_be_rows():
    outputs = {"a": np.zeros(2), "b": np.zeros((3, 1))}
    assert write_outputs(outputs, rows=False) == {"outputs": {"a": [0.0, 0.0], "b": [[0.0], [0.0], [0.0]]}}
    with pytest.raises(StatusError, match=r"inconsistent batch sizes: \{'a': 2, 'b': 3\}"):
        write_outputs(outputs, rows=True)
    with pytest.raises(StatusError, match="inconsistent batch sizes"):
        write_outputs({"a": np.array(1.0, np.float32)}, rows=True)
